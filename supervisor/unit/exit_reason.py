"""What the exception that ends a module means: the process's exit status, and the reason."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ipc.files import NO_SPACE, is_full
from supervisor.api import CannotStart, DiskFull, Settings, TemporaryFailure
from supervisor.unit.shared_state import LastWords

# Exit statuses of sysexits.h.
EXIT_FAULT: Final = 70  # EX_SOFTWARE
EXIT_TEMPORARY: Final = 75  # EX_TEMPFAIL
EXIT_CANNOT_START: Final = 78  # EX_CONFIG

#: Causes that a reason names if several tasks failed together.
_NAMED: Final = 3


def last_words(error: BaseException, settings: Settings) -> LastWords:
    """Return the reason for which a module exits, its traceback, and the exit status.

    Of an exception group the reason names the exceptions in it: "unhandled errors in a TaskGroup"
    is no cause. A group counts as a temporary failure only if all its exceptions are temporary.
    """
    causes = list(_leaves(error))
    temporary = [_temporary(cause, settings) for cause in causes]
    if all(temporary):
        return LastWords(_joined(list(map(str, temporary))), exit_status=EXIT_TEMPORARY)
    if all(isinstance(cause, CannotStart) for cause in causes):
        return LastWords(_joined([str(cause) for cause in causes]), exit_status=EXIT_CANNOT_START)
    text = _joined([f"{type(cause).__name__}: {cause}" for cause in causes])
    return LastWords(text, "".join(traceback.format_exception(error)), EXIT_FAULT)


def full_directory(settings: Settings) -> Path | None:
    """Return the data or run directory if its file system is full; None if neither is."""
    return next(filter(is_full, (settings.data_dir, settings.run_dir)), None)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _temporary(error: BaseException, settings: Settings) -> TemporaryFailure | None:
    """Return the temporary failure that an error is or was raised `from`; None if there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TemporaryFailure):
            return seen
        if isinstance(seen, OSError) and seen.errno in NO_SPACE:
            where = seen.filename if isinstance(seen.filename, str) else _where(settings)
            return DiskFull(where, seen.errno)
        seen = seen.__cause__
    return None


def _where(settings: Settings) -> str:
    """Name the directory without space: the error of write(2) does not name the file."""
    full = full_directory(settings)
    return str(full) if full else f"{settings.data_dir} or {settings.run_dir}"


def _joined(reasons: list[str]) -> str:
    distinct = list(dict.fromkeys(reasons))
    more = len(distinct) - _NAMED
    return "; ".join(distinct[:_NAMED]) + (f"; and {more} more" if more > 0 else "")

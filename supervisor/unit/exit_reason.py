"""What the exception that ends a module means: its exit status, and the reason that is told."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from typing import Final

from supervisor.api import CannotStart, DiskFull, Settings, TemporaryFailure
from supervisor.host.disk_space import full_directory
from supervisor.unit.shared_state import LastWords

# Exit statuses of sysexits.h.
EXIT_FAULT: Final = 70  # EX_SOFTWARE
EXIT_TEMPORARY: Final = 75  # EX_TEMPFAIL
EXIT_CANNOT_START: Final = 78  # EX_CONFIG

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOLD: Final = 3  # causes, of many that failed together


def last_words(error: BaseException, settings: Settings) -> LastWords:
    """Say why a module ends.

    An exception group is told by the exceptions in it: "unhandled errors in a TaskGroup" names
    no cause. A temporary failure is one only if nothing else failed with it.
    """
    causes = list(_leaves(error))
    temporary = [_temporary(cause, settings) for cause in causes]
    if all(temporary):
        return LastWords(_joined(list(map(str, temporary))), exit_status=EXIT_TEMPORARY)
    if all(isinstance(cause, CannotStart) for cause in causes):
        return LastWords(_joined([str(cause) for cause in causes]), exit_status=EXIT_CANNOT_START)
    text = _joined([f"{type(cause).__name__}: {cause}" for cause in causes])
    return LastWords(text, "".join(traceback.format_exception(error)), EXIT_FAULT)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _temporary(error: BaseException, settings: Settings) -> TemporaryFailure | None:
    """Find a condition that passes by itself, also where the error was raised `from` one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TemporaryFailure):
            return seen
        if isinstance(seen, OSError) and seen.errno in _NO_SPACE:
            where = seen.filename if isinstance(seen.filename, str) else _where(settings)
            return DiskFull(where, seen.errno)
        seen = seen.__cause__
    return None


def _where(settings: Settings) -> str:
    """Name the directory without space; write(2) does not say of which file it failed."""
    full = full_directory(settings.data_dir, settings.run_dir)
    return str(full) if full else f"{settings.data_dir} or {settings.run_dir}"


def _joined(reasons: list[str]) -> str:
    told = list(dict.fromkeys(reasons))
    more = len(told) - _TOLD
    return "; ".join(told[:_TOLD]) + (f"; and {more} more" if more > 0 else "")

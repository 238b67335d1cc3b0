"""Standard output whose failure ends a command with one line and a distinct exit status."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

#: EX_IOERR of sysexits.h: 1 has another meaning for most commands.
EXIT_OUTPUT_FAILED: Final = 74


class OutputFailed(Exception):
    """Standard output cannot be written to: it is closed, or its disk is full."""


class _Output(io.FileIO):
    """Descriptor 1; after the first failure the rest is discarded: the error is reported once."""

    _failed = False

    def write(self, data: Any, /) -> int:
        if self._failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            if isinstance(error, BrokenPipeError):  # the reader, such as head(1), has exited
                raise
            raise OutputFailed(f"cannot write to standard output: {error.strerror}") from error


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """End a command whose output cannot be written with one line, and the exit status for that.

    What is buffered is written at the end, as the interpreter would. If the reader has exited, the
    exit status is 1, as click has it.
    """
    _guard()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OutputFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(EXIT_OUTPUT_FAILED)
    except BrokenPipeError:
        sys.exit(1)


def _guard() -> None:
    """Make every failing write to sys.stdout raise OutputFailed, or BrokenPipeError."""
    if sys.stderr is None:  # messages are lost then, exit statuses are not
        _hold_descriptor(2, os.O_WRONLY)
        sys.stderr = os.fdopen(2, "w", closefd=False)
    encoding, errors = "utf-8", "backslashreplace"
    if sys.stdout is None:
        _hold_descriptor(1, os.O_RDONLY)
    else:
        encoding, errors = sys.stdout.encoding, sys.stdout.errors or errors
    output = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output), encoding, errors, line_buffering=output.isatty()
    )


def _hold_descriptor(number: int, flags: int) -> None:
    """Open /dev/null as a standard descriptor that is closed: no other file must become it."""
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)

"""Standard output whose failure ends a command with one line and an exit status of its own."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, Final

import click

EXIT_OUTPUT_FAILED: Final = 74  # EX_IOERR of sysexits.h: 1 has a meaning for most commands


class OutputFailed(click.ClickException):
    """Standard output is closed, or its disk is full."""

    exit_code = EXIT_OUTPUT_FAILED


class _Output(io.FileIO):
    """Descriptor 1; after the first failure the rest is discarded, so that it is told once."""

    _failed = False

    def write(self, data: Any, /) -> int:
        if self._failed:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:  # the reader has read enough: click ends without a word
            raise
        except OSError as error:
            self._failed = True
            raise OutputFailed(f"cannot write to standard output: {error.strerror}") from error


def guard() -> None:
    """Let every write to sys.stdout that fails end the command with OutputFailed."""
    if sys.stderr is None:  # messages have nowhere to go, but exit statuses have
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


def flush() -> None:
    """Write what is left, as the interpreter would at its end."""
    try:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
    except OutputFailed as error:
        error.show()
        sys.exit(error.exit_code)


def _hold_descriptor(number: int, flags: int) -> None:
    """Keep a standard descriptor that is closed from becoming some file or socket."""
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)

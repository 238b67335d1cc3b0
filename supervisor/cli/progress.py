"""What a command waits for, said on stderr once it takes longer than two seconds."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Final, Self

import click

#: Seconds that a command may take without a word.
PATIENCE: float = 2.0
#: Seconds between two changes of the line on a terminal.
_INTERVAL: Final = 0.5
#: Carriage return, and "erase to the end of the line".
_ERASE: Final = "\r\x1b[K"


class Progress:
    """A line that says what is waited for, as long as the `with` statement lasts.

    On a terminal the line is live, with the seconds, and is removed at the end; elsewhere it is
    written once. With the output "json" nothing is said: a program reads it.
    """

    def __init__(self, text: str, output: str = "text") -> None:
        self.text = text
        """what the line says; may be changed meanwhile"""
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self._quiet = output == "json"
        self._ended = threading.Event()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if not self._quiet:
            self._thread.join()

    def _show(self) -> None:
        if self._ended.wait(PATIENCE):
            return
        if not sys.stderr.isatty():
            click.echo(f"{self.text} ...", err=True)
            return
        try:
            while not self._ended.is_set():
                seconds = time.monotonic() - self._began
                self._write(f"{_ERASE}{self.text} ... {seconds:.0f} s")
                self._ended.wait(_INTERVAL)
        finally:
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

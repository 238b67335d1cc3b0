"""The terminal as a screen that is drawn anew, and its keys."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

#: Control sequences of xterm, which all terminals of today have.
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END: Final = "\x1b[J"

#: Bytes of keys that are read at once; a longer paste comes in several pieces.
_KEYS: Final = 64


class Screen:
    """The alternate screen of the terminal on stdout; what was on it before comes back at the end.

    Keys are those typed on stdin, without echo; there are none if that is no terminal.
    """

    def __init__(self) -> None:
        self._settings: list[Any] = []

    def __enter__(self) -> Self:
        if sys.stdin is not None and sys.stdin.isatty():
            self._settings = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())
        self._write(_ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write(_LEAVE)
        if self._settings:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._settings)

    @property
    def height(self) -> int:
        """The lines of the screen now."""
        return os.get_terminal_size(sys.stdout.fileno()).lines

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines in place of what was shown; those below the screen are left out."""
        shown = [line + _TO_END_OF_LINE for line in lines[: self.height]]
        self._write(_HOME + "\n".join(shown) + _TO_END)

    def keys(self, until: float) -> Iterator[str]:
        """Yield the keys that are typed until a time of the monotonic clock.

        A key is a letter, or the sequence of a key such as an arrow.
        """
        while (left := until - time.monotonic()) > 0:
            if not self._settings:
                time.sleep(left)
            elif select.select([sys.stdin], [], [], left)[0]:
                typed = os.read(sys.stdin.fileno(), _KEYS).decode("utf-8", "replace")
                yield from [typed] if typed.startswith("\x1b") else typed

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

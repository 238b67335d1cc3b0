"""Journals that modules keep of what they do, for who counts when it is over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LINE: Final = 32  # bytes; divides a page's, and so no kill can tear a line


class Journal:
    """A file of lines of one length; what is written is there, whoever is killed then."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o644)

    def note(self, *words: object) -> None:
        line = f"{' '.join(map(str, words)):<{_LINE - 1}}\n".encode()
        assert len(line) == _LINE
        os.write(self._fd, line)


def read(path: Path) -> Iterator[list[str]]:
    """Read a journal: the words of each line."""
    if path.exists():
        with path.open() as lines:
            yield from (line.split() for line in lines)

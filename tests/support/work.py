"""Work counted in steps, which are the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar


class Work:
    """How many functions have been called, Python's own in C included."""

    calls = 0


@contextmanager
def counted() -> Iterator[Work]:
    work = Work()

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        if event in {"call", "c_call"}:
            work.calls += 1

    sys.setprofile(count)
    try:
        yield work
    finally:
        sys.setprofile(None)


def assert_linear(work_of: Callable[[int], int], size: int) -> None:
    """Twice the size may take twice the work, and a little more for what comes once."""
    small, large = work_of(size), work_of(2 * size)
    assert large < 2.3 * small, f"{size}: {small} steps, {2 * size}: {large} steps"


class Name(str):
    """A string whose comparisons and hashes are counted, also those that C code makes."""

    __slots__ = ()
    looks: ClassVar[int] = 0

    def __eq__(self, other: object) -> bool:
        Name.looks += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Name.looks += 1
        return str.__hash__(self)

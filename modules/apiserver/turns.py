"""Cooperative scheduling: long work yields to the event loop every few milliseconds.

All work that grows with the number of objects uses it. A thread would not help: JSON and Python
objects need the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final, TypeVar

T = TypeVar("T")

#: Seconds for which one piece of work may hold the event loop. Only checked between its steps.
TURN_SECONDS: Final = 0.005


class Turn:
    """The time slice of one piece of work on the event loop."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._until = time.perf_counter() + TURN_SECONDS

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self._until

    async def next(self) -> None:
        """Yield to the event loop, and begin the next turn."""
        await asyncio.sleep(0)
        self.begin()


async def in_turns(steps: Iterable[T], turn: Turn | None = None) -> list[T]:
    """Run an iterator of many short steps in turns; return its items."""
    done: list[T] = []
    turn = turn or Turn()
    for result in steps:
        done.append(result)
        if turn.is_over:
            await turn.next()
    return done

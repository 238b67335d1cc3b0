"""Long work in turns: other requests get the event loop again every few milliseconds.

Everything on this server whose work grows with the number of objects goes through here. A thread
would not help: JSON and Python objects need the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final, TypeVar

T = TypeVar("T")

# How long one piece of work may hold the event loop; a step of it may be longer than what is left.
TURN_SECONDS: Final = 0.005


class Turn:
    """The time that a piece of work has on the event loop until others are let in."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._until = time.perf_counter() + TURN_SECONDS

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self._until

    async def next(self) -> None:
        """Let others in, and begin the next turn."""
        await asyncio.sleep(0)
        self.begin()


async def in_turns(steps: Iterable[T], turn: Turn | None = None) -> list[T]:
    """Return what an iterator yields, whose steps may be many but are short."""
    done: list[T] = []
    turn = turn or Turn()
    for result in steps:
        done.append(result)
        if turn.is_over:
            await turn.next()
    return done

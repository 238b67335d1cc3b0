"""The log of state changes: the last 1,000, and the followers that get new ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

log = logging.getLogger(__name__)

_KEPT: Final = 1000


class StateChange(msgspec.Struct, frozen=True):
    """One transition of a module; `at` is in seconds since the epoch, `number` counts all."""

    number: int
    at: float
    module: str
    old: str
    new: str
    reason: str
    pid: int | None


class StateChangeLog:
    """The most recent state changes, and the followers that are called with new ones."""

    def __init__(self) -> None:
        self._changes: deque[StateChange] = deque(maxlen=_KEPT)
        self._number = 0
        self.followers: list[Callable[[StateChange], None]] = []
        self._waiting: list[Callable[[], None]] = []

    def add(self, module: str, old: str, new: str, reason: str, pid: int | None) -> StateChange:
        self._number += 1
        change = StateChange(self._number, time.time(), module, old, new, reason, pid)
        self._changes.append(change)
        for follower in list(self.followers):
            try:
                follower(change)
            except Exception:  # a follower must not break the transition
                log.exception("a bug in the supervisor: a follower of state changes failed")
        self.look_again()
        return change

    def since(self, number: int = 0, module: str = "") -> list[StateChange]:
        """Return the kept changes after that number, of one module or of all."""
        return [
            change
            for change in self._changes
            if change.number > number and module in {"", change.module}
        ]

    def look_again(self) -> None:
        """Evaluate the conditions of `until` though no state has changed."""
        for look in list(self._waiting):
            look()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true; it is evaluated after every state change."""
        if condition():
            return
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look() -> None:
            try:
                if not held.done() and condition():
                    held.set_result(None)
            except Exception as error:
                held.set_exception(error)

        self._waiting.append(look)
        try:
            await held
        finally:
            self._waiting.remove(look)

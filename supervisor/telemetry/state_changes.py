"""The log of state transitions: the last 1,000, and the followers that get new ones."""

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
    """One transition; `at` is in seconds since the epoch, `number` counts them all."""

    number: int
    at: float
    module: str
    old: str
    new: str
    reason: str
    pid: int | None


class StateChangeLog:
    """The most recent events, and the followers that are called with new ones."""

    def __init__(self) -> None:
        self._events: deque[StateChange] = deque(maxlen=_KEPT)
        self._number = 0
        self.followers: list[Callable[[StateChange], None]] = []

    def add(self, module: str, old: str, new: str, reason: str, pid: int | None) -> StateChange:
        self._number += 1
        event = StateChange(self._number, time.time(), module, old, new, reason, pid)
        self._events.append(event)
        for follower in list(self.followers):
            try:
                follower(event)
            except Exception:  # a follower must not break the transition
                log.exception("a bug in the supervisor: a transition was not told")
        return event

    def since(self, number: int = 0, module: str = "") -> list[StateChange]:
        """Return the kept events after that number, of one module or of all."""
        return [
            event
            for event in self._events
            if event.number > number and module in {"", event.module}
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition is true; it is evaluated after every transition."""
        if condition():
            return
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def look(_: StateChange) -> None:
            try:
                if not held.done() and condition():
                    held.set_result(None)
            except Exception as error:
                held.set_exception(error)

        self.followers.append(look)
        try:
            await held
        finally:
            self.followers.remove(look)

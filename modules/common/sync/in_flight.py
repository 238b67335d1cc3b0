"""A limit on the number of messages in flight: taken from a channel, and not done yet."""

from __future__ import annotations

import asyncio


class InFlight:
    """The number of messages in flight, which its user keeps below a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._room = asyncio.Event()
        self._room.set()
        self._drained = asyncio.Event()
        self._drained.set()

    def __len__(self) -> int:
        return self._count

    def begin(self) -> None:
        """Count one more message; `room` is for the caller to await first."""
        self._count += 1
        self._drained.clear()
        if self._count >= self._limit:
            self._room.clear()

    def end(self) -> None:
        """Count one message less."""
        self._count -= 1
        if self._count == 0:
            self._drained.set()
        self._room.set()

    async def room(self) -> None:
        """Wait until fewer messages than the limit are in flight."""
        await self._room.wait()

    async def drained(self) -> None:
        """Wait until no message is in flight."""
        await self._drained.wait()

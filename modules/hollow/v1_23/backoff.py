"""Pauses between attempts, each twice the one before, up to a longest one."""

from __future__ import annotations

import asyncio


class Backoff:
    """The pauses of one series of attempts, in seconds."""

    def __init__(self, first: float, longest: float) -> None:
        self._pause = first
        self._longest = longest

    def next(self) -> float:
        """Return the next pause."""
        pause = min(self._pause, self._longest)
        self._pause = pause * 2
        return pause

    async def sleep(self) -> None:
        await asyncio.sleep(self.next())

"""When something is read again: sooner while somebody looks, and when somebody begins to."""

from __future__ import annotations

import asyncio
import time

from modules.dashboard.live.viewers import Viewers


class Pace:
    """The pauses between two polls of one thing."""

    def __init__(self, viewers: Viewers, busy: float, idle: float) -> None:
        """Set up; a pause is `busy` seconds while somebody looks, and `idle` while nobody does."""
        self._viewers = viewers
        self._busy = busy
        self._idle = idle
        self._begun = asyncio.Event()
        viewers.on_change(self._changed)

    async def pause(self) -> None:
        """Wait until the next poll is due."""
        ended = time.monotonic()
        self._changed()
        try:
            async with asyncio.timeout(self._idle):
                await self._begun.wait()
        except TimeoutError:
            return
        await asyncio.sleep(ended + self._busy - time.monotonic())

    def _changed(self) -> None:
        if len(self._viewers):
            self._begun.set()
        else:
            self._begun.clear()

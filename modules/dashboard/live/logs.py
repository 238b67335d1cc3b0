"""The output of modules: one stream of the supervisor for each module that somebody looks at."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any, Final

from ipc.background import keep_running
from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.live.viewers import Viewers

#: The prefix of the topics.
TOPIC: Final = "logs:"
#: Lines that a page gets at first, and characters of a line.
LINES: Final = 500
_LONGEST: Final = 4000
#: Streams at most, seconds between two attempts, and seconds for which lines are put together.
_STREAMS: Final = 16
_AGAIN: Final = 2.0
_PERIOD: Final = 0.25


class LogTails:
    """The tails of the modules' outputs, each followed as long as a page shows it."""

    def __init__(self, admin: Admin, viewers: Viewers) -> None:
        self._admin = admin
        self._viewers = viewers
        self._tails: dict[str, deque[str]] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        viewers.on_change(self._adjust)

    def snapshot(self, module: str) -> dict[str, Any]:
        """Return the last lines of a module's output, or of all with an empty name."""
        return {"all": True, "lines": list(self._tails.get(module, ()))}

    def close(self) -> None:
        """Follow nothing any more."""
        for task in self._following.values():
            task.cancel()
        self._following.clear()

    def _adjust(self) -> None:
        """Follow what somebody looks at, and nothing else."""
        wanted = {
            topic.removeprefix(TOPIC) for topic in self._viewers.topics() if topic.startswith(TOPIC)
        }
        for module in self._following.keys() - wanted:
            self._following.pop(module).cancel()
            self._tails.pop(module, None)
        for module in sorted(wanted - self._following.keys())[: _STREAMS - len(self._following)]:
            work = keep_running(f"the tail of {module or 'all'}", partial(self._follow, module))
            self._following[module] = asyncio.create_task(work)

    async def _follow(self, module: str) -> None:
        tail = self._tails[module] = deque(maxlen=LINES)
        while True:
            try:
                await self._read(module, tail)
            except (AdminRefused, AdminUnavailable) as error:  # it may be enabled, or back, later
                self._say(module, tail, f"-- {error}")
            await asyncio.sleep(_AGAIN)

    async def _read(self, module: str, tail: deque[str]) -> None:
        query = {"follow": "true", "lines": str(LINES)} | ({"module": module} if module else {})
        rest = b""
        begins = True
        async for piece in self._admin.lines("/logs", **query):
            *lines, rest = (rest + piece).split(b"\n")
            rest = rest[-_LONGEST:]
            if begins and tail:  # the stream begins with the last lines
                tail.clear()
                self._viewers.publish(f"{TOPIC}{module}", self.snapshot(module))
            begins = False
            if lines:
                self._publish(module, tail, [_text(line) for line in lines[-LINES:]])
                await asyncio.sleep(_PERIOD)

    def _say(self, module: str, tail: deque[str], line: str) -> None:
        """Add a line of our own, unless it is the last one already."""
        if not tail or tail[-1] != line:
            self._publish(module, tail, [line])

    def _publish(self, module: str, tail: deque[str], lines: list[str]) -> None:
        tail.extend(lines)
        self._viewers.publish(f"{TOPIC}{module}", {"all": False, "lines": lines})


def _text(line: bytes) -> str:
    return line[:_LONGEST].decode("utf-8", "replace")

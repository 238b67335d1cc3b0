"""The watch over modules that are ready and do not keep up: a full channel, a suspended process.

No process reports either, so the log would not have them. Both are in the reason of the module's
status as well (supervisor/unit/unit_status.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from ipc.background import kept_running
from supervisor.host.suspension import suspension
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

#: Seconds between two looks.
INTERVAL: float = 2.0
#: The share of its room that a sender has filled in a channel that is full, and in one that has
#: room again.
_FULL: Final = 0.9
_ROOM: Final = 0.5


class TroubleWatch:
    """Logs when such a trouble of a unit begins, and when it ends."""

    def __init__(self, units: Mapping[str, Unit]) -> None:
        self._units = units
        self._suspended: dict[str, int] = {}
        """the suspended process of a unit"""
        self._full: dict[str, float] = {}
        """since when the channel of a unit is full, as logged"""

    def look(self, now: float) -> None:
        """Look at all units; `now` is on the monotonic clock."""
        for name, unit in self._units.items():
            self._look_at_process(name, unit)
            self._look_at_channel(name, unit, now)

    def _look_at_process(self, name: str, unit: Unit) -> None:
        pid = unit.process.pid if unit.process and unit.process.suspended else 0
        former = self._suspended.pop(name, 0)
        if pid:
            self._suspended[name] = pid
            if pid != former:
                log.warning("module %s: %s", name, suspension(pid))
        elif former and unit.process and unit.process.pid == former:
            log.info("module %s: process %d goes on", name, former)

    def _look_at_channel(self, name: str, unit: Unit, now: float) -> None:
        if unit.state is not State.READY:  # which says enough
            self._full.pop(name, None)
            return
        fill = unit.mailbox.inbox.fill()
        if fill < (_ROOM if name in self._full else _FULL):
            unit.full_since = None
            if self._full.pop(name, None):
                log.info("module %s: its channel has room again", name)
        elif unit.full_since is None:
            unit.full_since = now
        elif unit.full_channel and self._full.get(name) != unit.full_since:
            self._full[name] = unit.full_since
            log.warning("module %s: %s", name, unit.full_channel)


def watched(units: Mapping[str, Unit]) -> AbstractAsyncContextManager[None]:
    """Watch the units while entered."""
    return kept_running("the watch over modules", partial(_watch, TroubleWatch(units)))


async def _watch(watch: TroubleWatch) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        watch.look(time.monotonic())

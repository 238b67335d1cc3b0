"""Which devices are not well, since when and why: polled for all viewers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from modules.dashboard.history import Change, History
from modules.dashboard.live.pace import Pace
from modules.dashboard.live.viewers import Viewers, news
from modules.dashboard.sources.devices import Device, Devices

#: Seconds between two polls while somebody looks, and while nobody does.
_POLL: Final = 15.0
_IDLE_POLL: Final = 30.0
#: Devices that are not well which the overview names.
_NAMED: Final = 10


class DeviceBoard:
    """What is known of the devices at this moment."""

    def __init__(self, source: Devices, history: History, viewers: Viewers) -> None:
        self._source = source
        self._history = history
        self._viewers = viewers
        self._pace = Pace(viewers, _POLL, _IDLE_POLL)
        self._states: dict[str, str] | None = None
        """of each device; None before the first poll"""
        self.summary: dict[str, Any] = {"total": 0, "not_well": 0, "troubled": []}
        """what the overview shows"""

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self.compare(await self._source.read())
            await self._pace.pause()

    def compare(self, devices: list[Device]) -> None:
        """Record the changes of state, and summarize."""
        if self._source.fault:
            return  # what is missing is not gone
        former = self._states
        self._states = {device.key: device.condition for device in devices}
        if former is not None:
            changes = list(_changes(former, self._states, {each.key: each for each in devices}))
            self._history.changes.extend(changes)
            if changes:
                self._viewers.publish("changes", news(changes))
        self._summarize(devices)

    def _summarize(self, devices: Iterable[Device]) -> None:
        troubled = [device for device in devices if not device.well]
        noticed = self._history.last_changes("device")
        since = {each.key: each.not_well_since or noticed.get(each.key) for each in troubled}
        troubled.sort(key=lambda device: (-(since[device.key] or 0.0), device.key))
        self.summary = {
            "total": len(self._states or ()),
            "not_well": len(troubled),
            "troubled": [
                {
                    "name": device.key,
                    "state": device.condition,
                    "since": since[device.key],
                    "why": device.why,
                }
                for device in troubled[:_NAMED]
            ],
        }


def _changes(
    former: dict[str, str], states: dict[str, str], devices: dict[str, Device]
) -> Iterator[Change]:
    now = time.time()
    for name, state in states.items():
        if name not in former:
            yield Change(now, "device", name, "new", state, devices[name].why)
        elif former[name] != state:
            yield Change(now, "device", name, former[name], state, devices[name].why)
    for name in former.keys() - states.keys():
        yield Change(now, "device", name, former[name], "removed", "")

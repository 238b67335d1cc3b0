"""Which devices are not well, since when and why: polled for all viewers."""

from __future__ import annotations

from typing import Any, Final

from modules.dashboard.history import History
from modules.dashboard.live.conditions import Condition, Conditions
from modules.dashboard.live.pace import Pace
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.devices import Device, Devices

#: Seconds between two polls while somebody looks, and while nobody does.
_POLL: Final = 15.0
_IDLE_POLL: Final = 30.0


class DeviceBoard:
    """What is known of the devices at this moment."""

    def __init__(self, source: Devices, history: History, viewers: Viewers) -> None:
        self._source = source
        self._conditions = Conditions("device", history, viewers)
        self._pace = Pace(viewers, _POLL, _IDLE_POLL)
        self._total = 0

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self.compare(await self._source.read())
            await self._pace.pause()

    def summary(self) -> dict[str, Any]:
        """Return what the overview shows."""
        return {
            "total": self._total,
            "not_well": self._conditions.not_well,
            "troubled": self._conditions.troubled,
        }

    def compare(self, devices: list[Device]) -> None:
        """Record the changes of state."""
        if self._source.fault:
            return  # what is missing is not gone
        self._total = len(devices)
        self._conditions.update(
            {
                each.key: Condition(each.condition, each.well, each.not_well_since, each.why)
                for each in devices
            }
        )

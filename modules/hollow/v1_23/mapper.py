"""A simulated mapper: the devices themselves, which do what is desired and report what they are.

After the template of KubeEdge's mapper-framework (_template/mapper/device): a property with
`reportToCloud` is reported every `collectCycle`, and the state every `reportCycle` of the status.
There is no limit of reports, while edgecore refuses its mappers more than one report a second in
the long run (edge/pkg/devicetwin/dmiserver).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from modules.hollow.events import Emit
from modules.hollow.timing import Timing
from modules.hollow.v1_23.twins import Twins

Json = dict[str, Any]

#: The cycle of what names none, in seconds.
_DEFAULT_CYCLE: Final = 1.0

#: The values of properties that nobody has set, by type.
_INITIAL: Final = {"INT": "0", "FLOAT": "0", "DOUBLE": "0", "BOOLEAN": "false"}


class Mapper:
    """The mapper for all protocols of one edge; `devices` are those registered with it, by id."""

    def __init__(self, twins: Twins, emit: Emit, timing: Timing) -> None:
        self.devices: dict[str, Json] = {}
        self.values: dict[str, dict[str, str]] = {}
        """The value of each property, by the device's id."""
        self.follows = True
        self._twins = twins
        self._emit = emit
        self._delay = timing.device
        self._timers: dict[str, dict[str, asyncio.TimerHandle]] = {}

    def register(self, device_id: str, device: Json, model: Json) -> None:
        """Start a device, or start it again with its new specification."""
        self._cancel(device_id)
        is_new = device_id not in self.devices
        self.devices[device_id] = device
        self._emit("device registered" if is_new else "device updated", f"device/{device_id}", "")
        types = {each["name"]: each for each in _properties(model)}
        values = self.values.setdefault(device_id, {})
        properties = {each["name"]: each for each in _properties(device)}
        for name in values.keys() - properties.keys():
            del values[name]
        for name, each in properties.items():
            described = types.get(name, {})
            values.setdefault(name, _INITIAL.get(described.get("type", ""), ""))
            if _desired(each) and described.get("accessMode") != "ReadOnly":
                self._later(device_id, f"follow {name}", self._delay, self._follow, name)
            if each.get("reportToCloud"):
                cycle = _seconds(each.get("collectCycle"))
                self._later(device_id, f"report {name}", cycle, self._report, name, cycle)
        status = device.get("status") or {}
        if status.get("reportToCloud"):
            cycle = _seconds(status.get("reportCycle"))
            self._later(device_id, "state", cycle, self._report_state, cycle)

    def remove(self, device_id: str) -> None:
        self._cancel(device_id)
        self.values.pop(device_id, None)
        if self.devices.pop(device_id, None) is not None:
            self._emit("device unregistered", f"device/{device_id}", "")

    def set(self, device_id: str, name: str, value: str) -> None:
        """Set a property's value and report it at once; raises KeyError if there is none."""
        values = self.values[device_id]
        if name not in values:
            raise KeyError(name)
        values[name] = value
        self._send(device_id, name)

    def stop(self) -> None:
        """Cancel all timers."""
        for device_id in list(self._timers):
            self._cancel(device_id)

    def _follow(self, device_id: str, name: str) -> None:
        """Do what is desired."""
        if self.follows:
            self.values[device_id][name] = self._desired_of(device_id, name)

    def _report(self, device_id: str, name: str, cycle: float) -> None:
        self._later(device_id, f"report {name}", cycle, self._report, name, cycle)
        self._send(device_id, name)

    def _report_state(self, device_id: str, cycle: float) -> None:
        self._later(device_id, "state", cycle, self._report_state, cycle)
        self._twins.report_state(device_id, "online")

    def _send(self, device_id: str, name: str) -> None:
        expected = self._desired_of(device_id, name)
        self._twins.report(device_id, name, self.values[device_id][name], expected)

    def _desired_of(self, device_id: str, name: str) -> str:
        properties = _properties(self.devices[device_id])
        return next((_desired(each) for each in properties if each["name"] == name), "")

    def _later(
        self, device_id: str, what: str, delay: float, call: Callable[..., None], *arguments: Any
    ) -> None:
        timers = self._timers.setdefault(device_id, {})
        loop = asyncio.get_running_loop()
        timers[what] = loop.call_later(delay, call, device_id, *arguments)

    def _cancel(self, device_id: str) -> None:
        for timer in self._timers.pop(device_id, {}).values():
            timer.cancel()


def _properties(obj: Json) -> list[Json]:
    return (obj.get("spec") or {}).get("properties") or []


def _desired(device_property: Json) -> str:
    return (device_property.get("desired") or {}).get("value") or ""


def _seconds(milliseconds: Any) -> float:
    return milliseconds / 1000 if milliseconds else _DEFAULT_CYCLE

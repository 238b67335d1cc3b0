"""The devices of an edge: its list of them, and the twins and states that they report.

After edge/pkg/devicetwin/dtmanager (membership.go, twin.go, device.go). As in Go, what is reported
while the edge is not connected is kept at the edge, and never sent.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ipc import Message
from modules.common.times import format_time
from modules.hollow.confirmations import Confirmations
from modules.hollow.events import Emit
from modules.hollow.link import Link

Json = dict[str, Any]

#: The states that a device can report; with the first two, it was there just then.
_ONLINE: Final = ("online", "ok")
_STATES: Final = (*_ONLINE, "offline", "unknown", "unhealthy")


class Twins:
    """The list of devices, and the twins; `devices` is what the edge keeps in its database."""

    def __init__(
        self,
        devices: dict[str, Json],
        link: Link,
        confirmations: Confirmations,
        emit: Emit,
        *,
        reports_states: bool,
    ) -> None:
        """Set up; `reports_states` says whether states are sent, or kept at the edge."""
        self._reports_states = reports_states
        self.devices = devices
        self._link = link
        self._confirmations = confirmations
        self._emit = emit

    def add(self, devices: list[Json]) -> None:
        """Add devices to the list; those that are known stay as they are."""
        for device in devices:
            device_id = device["id"]
            if device_id not in self.devices:
                self.devices[device_id] = {
                    "id": device_id,
                    "name": device.get("name", ""),
                    "description": device.get("description", ""),
                    "state": device.get("state", ""),
                    "twin": {},
                }
                self._emit("device added", f"device/{device_id}", "")

    def remove(self, device_ids: list[str]) -> None:
        for device_id in device_ids:
            if self.devices.pop(device_id, None) is not None:
                self._emit("device removed", f"device/{device_id}", "")

    def replace(self, devices: list[Json]) -> None:
        """Make the list equal to the cloud's one."""
        self.add(devices)
        listed = {device["id"] for device in devices}
        self.remove([device_id for device_id in self.devices if device_id not in listed])

    def report(self, device_id: str, name: str, actual: str, expected: str) -> None:
        """Set both values of a property, as a mapper reports them, and send them to the cloud."""
        device = self.devices.get(device_id)
        if device is None:
            self._emit("not reported", f"device/{device_id}", "it is not in the edge's list")
            return
        twin = device["twin"].setdefault(name, {"optional": True, "metadata": {"type": "string"}})
        _set(twin, "expected", expected)
        _set(twin, "actual", actual)
        self._emit("reported", f"device/{device_id}", f"{name}={actual}")
        content = _event() | {"twin": {name: {key: twin[key] for key in _FIELDS}}}
        self._to_cloud(f"device/{device_id}/twin/edge_updated", content)

    def report_state(self, device_id: str, state: str) -> None:
        """Set a device's state, and send it to the cloud."""
        device = self.devices.get(device_id)
        if device is None or state.lower() not in _STATES:
            return
        device["state"] = state
        device["last_online"] = _now() if state.lower() in _ONLINE else ""
        if not self._reports_states:
            return
        self._emit("reported", f"device/{device_id}", f"state {state}")
        fields = {
            "name": device["name"],
            "state": state,
            "lastOnlineTime": device["last_online"],
        }
        content = _event() | {"device": {key: value for key, value in fields.items() if value}}
        # A text in Go, where twins are a struct.
        text = msgspec.json.encode(content).decode()
        self._to_cloud(f"device/{device_id}/state/update", text)

    def _to_cloud(self, resource: str, content: Json | str) -> None:
        if self._link.up:
            message = Message.build("twin", "resource", "update", resource, content)
            self._confirmations.send(message)


#: The fields of a twin.
_FIELDS: Final = (
    "expected",
    "actual",
    "optional",
    "metadata",
    "expected_version",
    "actual_version",
)


def _set(twin: Json, which: str, value: str) -> None:
    """Set a value of a twin, one version later (dealVersion in Go, for what an edge reports)."""
    version = twin.get(f"{which}_version") or {"cloud": 0, "edge": 0}
    twin[which] = {"value": value, "metadata": {"timestamp": _milliseconds()}}
    twin[f"{which}_version"] = {"cloud": version["cloud"], "edge": version["edge"] + 1}


def _event() -> Json:
    return {"event_id": str(uuid.uuid4()), "timestamp": _milliseconds()}


def _now() -> str:
    return format_time(datetime.now(UTC), "seconds")


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000

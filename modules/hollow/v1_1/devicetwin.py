"""The deviceTwin of an edge of 1.1, with simulated devices that follow their twins.

After edge/pkg/devicetwin (dtmanager/membership.go, twin.go, communicate.go). A twin has an
expected value, which the cloud sets, and an actual value, which the device reports; each has a
version, a pair of counters, with which an edge refuses older values.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import datetime
from typing import Any, Final

import msgspec

from ipc import Message
from modules.hollow.confirmations import Confirmations
from modules.hollow.events import Emit
from modules.hollow.link import Link
from modules.hollow.timing import Timing

DELETED: Final = "deleted"

Twin = dict[str, Any]


class DeviceTwin:
    """The devices of one edge; `devices` maps id -> {id, name, description, state, twin}."""

    def __init__(
        self,
        node: str,
        devices: dict[str, dict[str, Any]],
        link: Link,
        emit: Emit,
        timing: Timing,
    ) -> None:
        self.devices = devices
        self.follows = True
        """Whether devices report the expected value as actual; if not, a caller uses `report`."""
        self._node = node
        self._emit = emit
        self._timing = timing
        self.confirmations = Confirmations(link, timing.confirm)

    def start(self) -> None:
        """Do nothing: devices are simulated when they are added."""

    def connected(self) -> None:
        """Query the whole membership, as on every new connection."""
        content = {
            "event_type": "group_membership_event",
            "event_id": "123",
            "group_id": self._node,
            "operation": "detail",
            "timestamp": _milliseconds(),
        }
        self._to_cloud("get", "membership/detail", content)

    def stop(self) -> None:
        self.confirmations.stop()

    def handle(self, message: Message) -> None:
        """Handle a message of group `twin` from the cloud."""
        self.confirmations.confirm(message.parent_id)
        if message.source not in {"devicecontroller", "edgemgr"}:
            self._emit("ignored", message.resource, f"from {message.source}")
            return
        if message.content in (b"OK", "OK"):
            return
        try:
            content = message.content
            if isinstance(content, bytes | str):
                content = msgspec.json.decode(content)
            self._apply(message.resource, content)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            self._emit("unreadable", message.resource, f"{type(error).__name__}: {error}")

    def report(self, device_id: str, values: dict[str, str]) -> None:
        """Report actual values of a device; raises KeyError if there is no such device or twin."""
        twins = self.devices[device_id]["twin"]
        reported = {name: _report(twins[name], value) for name, value in values.items()}
        for name, value in values.items():
            self._emit("reported", f"device/{device_id}", f"{name}={value}")
        self._update_cloud(f"device/{device_id}/twin/edge_updated", twin=reported)

    def _apply(self, resource: str, content: dict[str, Any]) -> None:
        parts = resource.split("/")
        if resource == "membership/detail":
            devices = content.get("devices") or []
            self._add(devices)
            present = {device["id"] for device in devices}
            self._remove([{"id": known} for known in self.devices.keys() - present])
        elif resource == "membership":
            self._add(content.get("added_devices") or [])
            self._remove(content.get("removed_devices") or [])
        elif parts[0] == "device" and parts[2:] == ["twin", "cloud_updated"]:
            self._sync(parts[1], content["twin"])
        else:
            self._emit("ignored", resource, "no such twin message")

    def _add(self, devices: list[dict[str, Any]]) -> None:
        for device in devices:
            device_id = device["id"]
            if device_id not in self.devices:
                self.devices[device_id] = {
                    "id": device_id,
                    "name": device.get("name", device_id),
                    "description": device.get("description", ""),
                    "state": "",
                    "twin": {},
                }
                self._emit("device added", f"device/{device_id}", "")
                self._come_online(device_id)
            self._sync(device_id, device.get("twin") or {})

    def _remove(self, devices: list[dict[str, Any]]) -> None:
        for device in devices:
            if self.devices.pop(device["id"], None) is not None:
                self._emit("device removed", f"device/{device['id']}", "")

    def _come_online(self, device_id: str) -> None:
        device = self.devices[device_id]
        device["state"] = "online"
        device["last_online"] = f"{datetime.now():%Y-%m-%d %H:%M:%S}"  # noqa: DTZ005 - as edges do
        shown = {key: device[key] for key in ("name", "state", "last_online")}
        self._update_cloud(f"device/{device_id}/state", device=shown)

    def _sync(self, device_id: str, twins: dict[str, Twin]) -> None:
        """Apply expected values of the cloud, and refuse those with an older version."""
        device = self.devices.get(device_id)
        if device is None:
            self._emit("ignored", f"device/{device_id}", "twin of an unknown device")
            return
        refused = {}
        for name, new in twins.items():
            twin = device["twin"].get(name)
            if twin is not None and _older(new, twin):
                refused[name] = {key: twin[key] for key in _EXPECTED if key in twin}
            elif (new.get("metadata") or {}).get("type") == DELETED:
                device["twin"].pop(name, None)
                self._emit("twin", f"device/{device_id}", f"{name} deleted")
            else:
                device["twin"][name] = (twin or {}) | new
                value = (new.get("expected") or {}).get("value")
                self._emit("twin", f"device/{device_id}", f"{name} expected {value}")
        if refused:
            self._emit("refused twin", f"device/{device_id}", f"older: {sorted(refused)}")
            self._update_cloud(f"device/{device_id}/twin/edge_updated", twin=refused)
        if self.follows:
            asyncio.get_running_loop().call_later(self._timing.device, self._follow, device_id)

    def _follow(self, device_id: str) -> None:
        """Report the expected values as actual where they differ."""
        device = self.devices.get(device_id)
        if device is None:
            return
        values = {}
        for name, twin in device["twin"].items():
            wanted = (twin.get("expected") or {}).get("value")
            if wanted is not None and wanted != (twin.get("actual") or {}).get("value"):
                values[name] = wanted
        if values:
            self.report(device_id, values)

    def _update_cloud(self, resource: str, **content: Any) -> None:
        head = {"event_id": str(uuid.uuid4()), "timestamp": _milliseconds()}
        self._to_cloud("update", resource, head | content)

    def _to_cloud(self, operation: str, resource: str, content: dict[str, Any]) -> None:
        # Go marshals these from structs: fields in their order, not sorted as a map's keys.
        body = msgspec.json.encode(content).decode()
        self.confirmations.send(Message.build("twin", "resource", operation, resource, body))


_EXPECTED: Final = ("expected", "optional", "metadata", "expected_version")


def _report(twin: Twin, value: str) -> Twin:
    """Set a twin's actual value, and return the report to the cloud."""
    version = twin.get("actual_version") or {"cloud": 0, "edge": 0}
    twin["actual"] = {"value": value, "metadata": {"timestamp": _milliseconds()}}
    twin["actual_version"] = {"cloud": version["cloud"], "edge": version["edge"] + 1}
    return {
        "actual": twin["actual"],
        "optional": twin.get("optional", False),
        "metadata": twin.get("metadata") or {"type": "string"},
        "actual_version": twin["actual_version"],
    }


def _older(new: Twin, known: Twin) -> bool:
    """Whether the cloud's twin is behind the edge's, in either counter (dealVersion in Go)."""
    version = known.get("expected_version")
    if version is None:
        return False
    offered = new.get("expected_version")
    if offered is None:
        return True
    return bool(offered["cloud"] < version["cloud"] or offered["edge"] < version["edge"])


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000

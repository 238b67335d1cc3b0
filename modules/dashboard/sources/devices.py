"""The devices, with the values that are desired and those that were reported."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from modules.common.kube import DEVICES, DEVICES_V1BETA1, DEVICESTATUSES, KubeError, NotFound
from modules.dashboard.sources.cluster import Cluster
from modules.dashboard.sources.fields import mapping, mappings, seconds

#: Seconds for which a list serves all pages.
_FRESH: Final = 4.0

#: States that edges report of devices that do not answer.
_OFFLINE: Final = frozenset({"offline", "disconnected", "unhealthy", "unknown"})

Object = dict[str, Any]


class Twin(msgspec.Struct, frozen=True):
    """One property of a device."""

    property: str
    desired: str
    reported: str
    at: str
    """when the device has reported it: as it says, in milliseconds since the epoch"""


class Device(msgspec.Struct, frozen=True):
    """One device of either API version."""

    name: str
    namespace: str
    node: str
    model: str
    protocol: str
    version: str
    state: str
    """what its edge reports (v1beta1), or empty"""
    online: str
    """when it was last online"""
    fault: str
    """why cloudcore cannot use it: its condition Accepted"""
    since: float | None
    """since when there is this fault, in seconds since the epoch"""
    twins: list[Twin]

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def condition(self) -> str:
        """Its state in a word or two."""
        return "not accepted" if self.fault else self.state or "no state"

    @property
    def well(self) -> bool:
        """Whether nothing is known that is wrong with it."""
        return not self.fault and self.state.lower() not in _OFFLINE

    @property
    def not_well_since(self) -> float | None:
        """Since when it has a fault, or when it was last online."""
        return self.since if self.fault else seconds(self.online)

    @property
    def why(self) -> str:
        """Why it is not well; empty if it is."""
        return "" if self.well else self.fault or f"so its edge {self.node} reports"


class Devices:
    """Reads all devices, for all pages together."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reading = asyncio.Lock()
        self._read_at = -_FRESH
        self._devices: list[Device] = []
        self.fault = ""
        """why what was read last is incomplete"""

    async def read(self) -> list[Device]:
        """Return all devices, sorted by name; as they were if they cannot be read: see `fault`."""
        async with self._reading:
            if time.monotonic() - self._read_at >= _FRESH:
                found = await self._list()
                if not (self.fault and self._devices):
                    self._devices = found
                self._read_at = time.monotonic()
            return self._devices

    async def _list(self) -> list[Device]:
        self.fault = ""
        statuses = {_key(each): each for each in await self._of(DEVICESTATUSES)}
        found = {_key(each): alpha(each) for each in await self._of(DEVICES)}
        for each in await self._of(DEVICES_V1BETA1):
            device = beta(each, statuses.get(_key(each), {}))
            # An object of v1alpha1 has no node in the other version.
            if device.node or _key(each) not in found:
                found[_key(each)] = device
        return [found[key] for key in sorted(found)]

    async def _of(self, resource: Any) -> list[Any]:
        """Return the objects of a version, none if it is not served."""
        try:
            return [each for each in await self._cluster.list(resource) if _is_object(each)]
        except NotFound:
            return []
        except KubeError as error:
            self.fault = str(error)
            return []


def device_document(device: Device) -> dict[str, Any]:
    """Return what pages show of a device."""
    names = (*device.__struct_fields__, "condition", "well", "not_well_since", "why")
    return {name: getattr(device, name) for name in names}


def alpha(device: Object) -> Device:
    """Return a device of v1alpha1."""
    spec, status = mapping(device, "spec"), mapping(device, "status")
    return Device(
        **_common(device, "v1alpha1"),
        node=_selected_node(spec),
        protocol=next(iter(mapping(spec, "protocol")), ""),
        state="",
        online="",
        twins=[
            _twin(each, _value(each, "desired"), _value(each, "reported"), each)
            for each in mappings(status, "twins")
        ],
    )


def beta(device: Object, status: Object) -> Device:
    """Return a device of v1beta1; its status is a DeviceStatus, or part of it up to 1.22."""
    spec = mapping(device, "spec")
    state = mapping(status, "status") or mapping(device, "status")
    twins = {str(each.get("propertyName", "")): each for each in mappings(state, "twins")}
    properties = {str(each.get("name", "")): each for each in mappings(spec, "properties")}
    return Device(
        **_common(device, "v1beta1"),
        node=str(spec.get("nodeName") or ""),
        protocol=str(mapping(spec, "protocol").get("protocolName") or ""),
        state=str(state.get("state") or ""),
        online=str(state.get("lastOnlineTime") or ""),
        twins=[
            _twin(
                {"propertyName": name},
                _value(properties.get(name, {}), "desired")
                or _value(twins.get(name, {}), "observedDesired"),
                _value(twins.get(name, {}), "reported"),
                twins.get(name, {}),
            )
            for name in sorted(properties.keys() | twins.keys())
        ],
    )


def _common(device: Object, version: str) -> dict[str, Any]:
    namespace, name = _key(device)
    return {
        "name": name,
        "namespace": namespace,
        "model": str(mapping(mapping(device, "spec"), "deviceModelRef").get("name") or ""),
        "version": version,
        **_fault(mappings(mapping(device, "status"), "conditions")),
    }


def _fault(conditions: Iterable[Object]) -> dict[str, Any]:
    """Return why cloudcore cannot use a device, and since when."""
    for condition in conditions:
        if condition.get("type") == "Accepted" and condition.get("status") == "False":
            why = str(condition.get("message") or condition.get("reason") or "not accepted")
            return {"fault": why, "since": seconds(condition.get("lastTransitionTime"))}
    return {"fault": "", "since": None}


def _selected_node(spec: Object) -> str:
    """Return the node that a device of v1alpha1 names; it selects one by a label."""
    for term in mappings(mapping(spec, "nodeSelector"), "nodeSelectorTerms"):
        for expression in mappings(term, "matchExpressions"):
            values = expression.get("values")
            if isinstance(values, list) and values:
                return str(values[0])
    return ""


def _twin(named: Object, desired: str, reported: str, twin: Object) -> Twin:
    metadata = mapping(mapping(twin, "reported"), "metadata")
    return Twin(
        str(named.get("propertyName", "")), desired, reported, str(metadata.get("timestamp") or "")
    )


def _value(holder: Object, name: str) -> str:
    value = mapping(holder, name).get("value")
    return "" if value is None else str(value)


def _key(obj: Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("metadata"), dict)

"""The messages about devices between the cloud and edges of KubeEdge 1.15 to 1.23.

The structs are those of cloud/pkg/devicecontroller/types/device.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

import ipc
from modules.common import message_resource
from modules.common.kube import Key, Object
from modules.devicecontroller.edge_messages import (
    TwinVersion,
    TypeMetadata,
    Value,
    event,
    now,
    read,
)

SOURCE: Final = "devicecontroller"
TWIN: Final = "twin"
RESOURCE: Final = "resource"

INSERT: Final = "insert"
UPDATE: Final = "update"
DELETE: Final = "delete"
RESPONSE: Final = "response"

#: The operation with which EdgeController tells that a node's edge has lost its database.
LOST: Final = "lost"

_STATE_UPDATE: Final = "state/update"


def describe(device_id: str, key: Key, device: Object | None) -> Object:
    """Return a device in a list of devices; edges from 1.15 on get no twins there."""
    described = {"id": device_id, "name": key[1]}
    labels = (device or {"metadata": {}})["metadata"].get("labels") or {}
    if description := labels.get("description"):
        described["description"] = description
    return described


def membership(node: str, added: list[Object], removed: list[Object]) -> ipc.Message:
    """Return the message that adds devices to a node's list, and removes others."""
    content = event(now()) | {"added_devices": added or None, "removed_devices": removed or None}
    resource = message_resource.build_membership(node)
    return ipc.Message.build(SOURCE, TWIN, UPDATE, resource, content)


def detail(node: str, devices: Iterable[Object], event_id: str) -> ipc.Message:
    """Return the message with the whole list of a node's devices.

    It has no parent id: edges from KubeEdge 1.21 on take what has one for an acknowledgement.
    """
    content = event(now()) | {"devices": list(devices)}
    if event_id:
        content["event_id"] = event_id
    resource = message_resource.cloud_resource(node, message_resource.MEMBERSHIP_DETAIL)
    return ipc.Message.build(SOURCE, TWIN, UPDATE, resource, content)


def change(node: str, operation: str, type_: str, key: Key, content: Object) -> ipc.Message:
    """Return a message with a device or a model."""
    resource = message_resource.build(node, key[0], type_, key[1])
    made = ipc.Message.build(SOURCE, RESOURCE, operation, resource, content)
    made.resource_version = content["metadata"].get("resourceVersion", "")
    return made


def confirmation(node: str, message_id: str) -> ipc.Message:
    """Return the answer after which an edge does not send a message again."""
    resource = message_resource.cloud_resource(node, TWIN)
    return ipc.Message.build(SOURCE, TWIN, RESPONSE, resource, "OK", parent_id=message_id)


class Subject(NamedTuple):
    """What a message of an edge is about: a device, as the edge names it, and a part of it."""

    device: str
    is_state: bool


def subject_of(about: str) -> Subject | None:
    """Return what the resource of a message is about; None if it is no report.

    That is `device/NAMESPACE/NAME/twin/edge_updated` or `.../state/update`, and up to KubeEdge 1.15
    the name alone.
    """
    prefix, _, rest = about.partition("/")
    for aspect in (message_resource.TWIN_EDGE_UPDATED, _STATE_UPDATE):
        device = rest.removesuffix(f"/{aspect}")
        if prefix == message_resource.DEVICE and device != rest and 0 <= device.count("/") <= 1:
            return Subject(device, aspect == _STATE_UPDATE)
    return None


def is_of_today(about: str) -> bool:
    """Whether a message is one that only edges of today send, by its resource."""
    subject = subject_of(about)
    return subject is not None and (subject.is_state or "/" in subject.device)


class Version(NamedTuple):
    """How new a report is, by the edge's counter and its clock (in milliseconds)."""

    edge: int
    timestamp: int

    def is_older(self, other: Version) -> bool:
        """Whether it is older by both: the clock may be set back, and the counter begin anew."""
        return self.edge < other.edge and self.timestamp <= other.timestamp


class TwinReport(NamedTuple):
    """What an edge says of one property: the fields of its twin, of which one may be missing."""

    twin: dict[str, Object]
    version: Version | None
    """None without a reported value"""


class State(NamedTuple):
    """The state of a device; as in Go an empty field is not written."""

    fields: dict[str, str]


class _Twin(msgspec.Struct):
    actual: Value | None = None
    expected: Value | None = None
    metadata: TypeMetadata | None = None
    actual_version: TwinVersion | None = None


class _TwinUpdate(msgspec.Struct):
    twin: dict[str, _Twin | None] | None = None


class _Device(msgspec.Struct):
    state: str = ""
    last_online: str = msgspec.field(default="", name="lastOnlineTime")


class _StateUpdate(msgspec.Struct):
    device: _Device = msgspec.field(default_factory=_Device)


def reports(content: Any) -> dict[str, TwinReport]:
    """Return what a twin update says, by property; raises BadObject if it is malformed."""
    update = read(content, _TwinUpdate)
    return {
        name: _report(twin) for name, twin in (update.twin or {}).items() if twin and _says(twin)
    }


def state(content: Any) -> State:
    """Return what a state update says; raises BadObject if it is malformed."""
    device = read(content, _StateUpdate).device
    fields = {"state": device.state, "lastOnlineTime": device.last_online}
    return State({name: value for name, value in fields.items() if value})


def _says(twin: _Twin) -> bool:
    return any(each and each.value is not None for each in (twin.actual, twin.expected))


def _report(twin: _Twin) -> TwinReport:
    given: Mapping[str, Value | None] = {
        "reported": twin.actual,
        "observedDesired": twin.expected,
    }
    fields = {
        name: {"value": value.value, "metadata": _metadata(value, twin.metadata)}
        for name, value in given.items()
        if value and value.value is not None
    }
    if twin.actual is None:
        return TwinReport(fields, None)
    timestamp = twin.actual.metadata.timestamp if twin.actual.metadata else 0
    edge = twin.actual_version.edge if twin.actual_version else 0
    return TwinReport(fields, Version(edge, timestamp))


def _metadata(value: Value, metadata: TypeMetadata | None) -> dict[str, str]:
    made = {}
    if value.metadata is not None:
        made["timestamp"] = str(value.metadata.timestamp)
    if metadata is not None:
        made["type"] = metadata.type
    return made

"""Membership messages: the devices of a node.

An edge takes `membership` as a change and `membership/detail` as the complete list: it removes
the devices that are not in it (edge/pkg/devicetwin/dtmanager/membership.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from ipc.message import DECODING_ERRORS
from modules.common.kube import Object
from modules.devicecontroller.v1alpha1 import twin
from modules.devicecontroller.v1alpha1.device import desired_of, version_of


def describe(
    device: Object, version: int, now: int, dropped: Mapping[str, str] | None = None
) -> Object:
    """Return a device as the edge gets it, as in `createDevice`; `now` is in milliseconds."""
    metadata = device["metadata"]
    # Without the namespace: an edge of v1.1 knows devices by their names alone.
    described = {"id": metadata["name"], "name": metadata["name"]}
    if description := (metadata.get("labels") or {}).get("description"):
        described["description"] = description
    if twins := twin.expected(desired_of(device), dropped or {}, version, now):
        described["twin"] = twins
    return described


def added(device: Object, now: int) -> Object:
    """Return the content of a `membership` update that adds a device."""
    return _update([describe(device, version_of(device), now)], None, now)


def removed(device: Object, now: int) -> Object:
    """Return the content of a `membership` update that removes a device."""
    return _update(None, [describe(device, version_of(device), now)], now)


def detail(devices: Iterable[Object], event_id: str, now: int) -> Object:
    """Return the content of `membership/detail`: all devices of a node, as described."""
    content = twin.event(now) | {"devices": list(devices)}
    return content | {"event_id": event_id} if event_id else content


class _Get(msgspec.Struct):
    event_id: str = ""


def event_id_of(content: object) -> str:
    """Return the event_id of a `membership/detail` request; empty if it has none."""
    try:
        if isinstance(content, (bytes, str)):
            return msgspec.json.decode(content, type=_Get).event_id
        return msgspec.convert(content, _Get).event_id
    except DECODING_ERRORS:
        # The resource is all that the request needs; only the event_id is missing.
        return ""


def _update(add: list[Object] | None, remove: list[Object] | None, now: int) -> Object:
    return twin.event(now) | {"added_devices": add, "removed_devices": remove}

"""Membership messages: the devices of a node.

An edge takes `membership` as a change and `membership/detail` as the complete list: it removes
the devices that are not in it (edge/pkg/devicetwin/dtmanager/membership.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modules.common.kube import Object
from modules.devicecontroller.edge_messages import event, version_number
from modules.devicecontroller.v1alpha1 import twin
from modules.devicecontroller.v1alpha1.device import desired_of


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
    return _update([describe(device, version_number(device), now)], None, now)


def removed(device: Object, now: int) -> Object:
    """Return the content of a `membership` update that removes a device."""
    return _update(None, [describe(device, version_number(device), now)], now)


def detail(devices: Iterable[Object], event_id: str, now: int) -> Object:
    """Return the content of `membership/detail`: all devices of a node, as described."""
    content = event(now) | {"devices": list(devices)}
    return content | {"event_id": event_id} if event_id else content


def _update(add: list[Object] | None, remove: list[Object] | None, now: int) -> Object:
    return event(now) | {"added_devices": add, "removed_devices": remove}

"""Telling a cluster's operator, by Kubernetes Events, why a device does not work."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from modules.common.kube import EVENTS, AlreadyExists, KubeClient, KubeError, NotFound
from modules.devicecontroller.device import Key, Object, key_of, label, model_of
from modules.devicecontroller.inventory import Inventory, slot_of
from modules.devicecontroller.workqueue import WorkQueue

COMPONENT: Final = "devicecontroller"

#: Seconds a fault must last to be told: `kubectl apply -f folder/` creates a device before its
#: model when the files are named so.
_GRACE: Final = 1.0

#: Of the 253 characters of an object's name, those left beside the suffix.
_NAME_ROOM: Final = 253 - 17

log = logging.getLogger(__name__)


class Fault(NamedTuple):
    """What keeps a device from working; `reason` is one word, for programs."""

    reason: str
    message: str


def fault_of(device: Object, inventory: Inventory) -> Fault | None:
    """Find what is wrong with a device, None if it can be used."""
    slot = slot_of(device)
    if slot is None:
        return Fault(
            "NoNode",
            "the device names no edge node: put the node's name into "
            "spec.nodeSelector.nodeSelectorTerms[0].matchExpressions[0].values[0]",
        )
    holder = inventory.at(slot)
    if holder is not None and key_of(holder) != key_of(device):
        return Fault(
            "NameTaken",
            f"node {slot.node} already has the device {label(holder)}, and an edge node knows a "
            f"device by its name alone: rename one of the two or bind it to another node",
        )
    namespace, model = model_of(device)
    if (namespace, model) not in inventory.models:
        return Fault(
            "UnknownModel",
            f"there is no DeviceModel {model!r} in namespace {namespace}: the device is left out "
            f"of the device profile of node {slot.node} until it is created",
        )
    return None


class Rejections:
    """Writes one Event for each fault that begins."""

    def __init__(
        self, client: KubeClient, inventory: Inventory, on_change: Callable[[], None]
    ) -> None:
        """Set up; `on_change` is called when `count` has changed."""
        self._client = client
        self._inventory = inventory
        self._on_change = on_change
        self._told: dict[Key, Fault] = {}
        self._queue: WorkQueue[Key] = WorkQueue(self._tell, KubeError)

    def look_at(self, device: Key) -> None:
        """Look for faults of a device that has changed, or on which something has."""
        self._queue.add_later(device, _GRACE)

    async def run(self) -> None:
        """Write Events until cancelled."""
        await self._queue.run()

    def stop(self) -> None:
        self._queue.stop()

    @property
    def count(self) -> int:
        """How many devices have a fault that was told."""
        return len(self._told)

    async def _tell(self, key: Key) -> None:
        device = self._inventory.devices.get(key)
        fault = fault_of(device, self._inventory) if device else None
        if device is None or fault is None:
            if self._told.pop(key, None):
                self._on_change()
        elif self._told.get(key) != fault:
            log.warning(f"device {label(device)} is rejected: {fault.message}")
            await self._write(device, fault)
            self._told[key] = fault
            self._on_change()

    async def _write(self, device: Object, fault: Fault) -> None:
        namespace = device["metadata"]["namespace"]
        event = _event(device, fault)
        try:
            await self._client.create(EVENTS, event, namespace)
        except AlreadyExists:
            # The same fault was told before this process began.
            again = {"lastTimestamp": event["lastTimestamp"]}
            await self._client.patch(EVENTS, event["metadata"]["name"], again, namespace)
        except NotFound as error:
            log.debug("no Event for device %s: %s", label(device), error)


def _event(device: Object, fault: Fault) -> Object:
    """Make the Event; its name is made of what it says, so that it is written once."""
    metadata = device["metadata"]
    identity = "\0".join((metadata.get("uid", ""), *fault))
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:16]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {
            "name": f"{metadata['name'][:_NAME_ROOM].rstrip('.-')}.{suffix}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": "devices.kubeedge.io/v1alpha1",
            "kind": "Device",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": "Warning",
        "reason": fault.reason,
        "message": fault.message,
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }

"""Sending devices to edge nodes: reconciles what was sent to a node with what it should have.

The messages are those of cloud/pkg/devicecontroller/controller/downstream.go. One worker sends
all of them, so that a node never gets an older state after a newer one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import ipc
from modules.common import message_resource
from modules.common.kube import DEVICES, NODES, Object, SetAside, Subject, key_of
from modules.common.log_limit import LogLimit
from modules.common.sync.keyed_queue import KeyedQueue
from modules.common.sync.takeovers import Takeovers
from modules.common.wire.generations import V1_23
from modules.devicecontroller.edge_messages import now, version_number
from modules.devicecontroller.metrics import SYNC_LATENCY
from modules.devicecontroller.v1alpha1 import (
    membership,
    twin,
)
from modules.devicecontroller.v1alpha1.device import desired_of
from modules.devicecontroller.v1alpha1.sync.inventory import (
    DeviceSlot,
    Inventory,
)
from modules.devicecontroller.v1alpha1.sync.record import (
    SyncRecord,
    Told,
    row_of,
)
from supervisor.api import ModuleContext

SOURCE: Final = "devicecontroller"
GROUP: Final = "twin"

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """A node's request for all of its devices; `done` is called when it has been answered."""

    message_id: str
    event_id: str
    done: Callable[[], None]


#: Seconds until the next attempt at a record that could not be written.
_AGAIN: Final = 5.0

#: For a node that gets its devices without having asked.
_UNASKED: Final = Request("", "", lambda: None)


class NodeSync:
    """Compares inventory and record, slot by slot, and sends the difference to the nodes."""

    def __init__(
        self,
        context: ModuleContext,
        inventory: Inventory,
        record: SyncRecord,
        set_aside: SetAside,
        takeovers: Takeovers | None = None,
    ) -> None:
        """Set up; with several replicas, `takeovers` writes what is sent to the API first."""
        self._takeovers = takeovers
        self._set_aside = set_aside
        self._log_limit = LogLimit(log)
        self._context = context
        self._inventory = inventory
        self._record = record
        self.queue: KeyedQueue[DeviceSlot | str] = KeyedQueue(
            self._handle, ipc.ChannelError, self._put_aside
        )
        self._last: dict[DeviceSlot, Object] = {}
        self._requests: dict[str, list[Request]] = {}
        self._since: dict[DeviceSlot, float] = {}
        #: Whether nodes are connected, as far as it has been said since the start.
        self._connected: dict[str, bool] = {}
        #: The nodes whose edges are of today: they know devices of v1beta1 only.
        self._of_today = {node for node, said in record.generations().items() if said == V1_23}
        if takeovers is not None:
            self._of_today.clear()  # another edge may have connected elsewhere
        self.sent = 0

    def enqueue(self, slot: DeviceSlot, last: Object | None = None) -> None:
        """Enqueue a slot; `last` is the final state of a device that has left it."""
        if last is not None:
            self._last[slot] = last
        self._since.setdefault(slot, time.monotonic())
        self.queue.add(slot)

    def enqueue_all(self) -> None:
        """Enqueue all slots, for what has changed while this module was not running."""
        for slot in {*self._inventory.slots(), *self._record.slots()}:
            self.queue.add(slot)

    def takes_devices(self, node: str) -> bool:
        """Whether a node's edge knows devices of v1alpha1."""
        return node not in self._of_today

    def learn(self, node: str, generation: str) -> None:
        """Record the protocol generation of a node's edge."""
        if (generation == V1_23) != (node in self._of_today):
            self._of_today ^= {node}
            self._record.set_generation(node, generation if generation == V1_23 else "")

    def connected(self, node: str, generation: str, delay: float) -> None:
        """Take note of a node that has connected, and of its edge's protocol generation.

        It is sent all of its devices in `delay` seconds, unless it asks sooner.
        """
        self.learn(node, generation)
        if self.takes_devices(node):
            self.announce_later(node, delay)
            if node in self._requests:
                self.queue.add(node)
        else:
            self._connected[node] = True
            self.queue.discard_later(node)

    def answer(self, node: str, request: Request) -> None:
        """Enqueue the answer to a node: all of its devices, whatever was sent before."""
        if self._takeovers is None:
            self._connected[node] = True
        self._requests.setdefault(node, []).append(request)
        self.queue.add(node)

    def announce_later(self, node: str, delay: float) -> None:
        """Send a connected node all of its devices in `delay` seconds, unless it asks sooner."""
        self._connected[node] = True
        self.queue.add_later(node, delay)

    def disconnected(self, node: str) -> None:
        """Cancel the unsolicited device list scheduled for a node that has disconnected."""
        self._connected[node] = False
        if self._takeovers is not None:
            self.learn(node, "")
            self.queue.add(node)  # its requests are answered elsewhere
        elif node not in self._requests:
            self.queue.discard_later(node)

    def forget(self, node: str) -> None:
        """Forget the connection of a node that is gone."""
        self._connected.pop(node, None)

    def _put_aside(self, item: DeviceSlot | str, error: Exception) -> None:
        """Set aside a device, or the requests of a node, which are not answered then."""
        if isinstance(item, DeviceSlot):
            told, device = self._record.get(item), self._inventory.at(item)
            known = device or (told.device if told else None)
            subject = Subject.of(DEVICES, known or {"metadata": {"name": item.name}})
        else:
            subject = Subject.of(NODES, {"metadata": {"name": item}})
            for request in self._requests.pop(item, ()):
                request.done()
        self._set_aside.put(subject, error)

    async def _handle(self, item: DeviceSlot | str) -> None:
        if isinstance(item, DeviceSlot):
            before = self.sent
            await self._update(item)
            since = self._since.pop(item, None)
            if since is not None and self.sent > before:
                SYNC_LATENCY.observe(time.monotonic() - since)
        else:
            await self._detail(item)

    async def _update(self, slot: DeviceSlot) -> None:
        last = self._last.pop(slot, None)
        if self._takeovers is not None and not self._connected.get(slot.node):
            return
        if not self.takes_devices(slot.node):
            log.info(
                "device %s is not sent to node %s, whose edge knows no devices of %s",
                *(slot.name, slot.node, DEVICES.version),
            )
            return
        told = self._record.get(slot)
        device = self._inventory.at(slot)
        if told and device is None and self._is_aside(told.device):
            return  # its node keeps the last usable state
        if told and (device is None or not _same(device, told)):
            await self._remove(slot, last or told.device)
            told = None
        if device and told is None:
            await self._add(slot, device)
        elif device and told and desired_of(device) != desired_of(told.device):
            await self._change(slot, device, told)

    async def _add(self, slot: DeviceSlot, device: Object) -> None:
        told = Told(_kept(device), version=version_number(device))
        if not await self._is_recorded(slot.node, {slot.name: told}):
            self.queue.add_later(slot, _AGAIN)
            return
        await self._send(
            message_resource.build_membership(slot.node), membership.added(device, now())
        )
        self._record.put(slot, told)
        self._log(slot, "is added to")

    async def _remove(self, slot: DeviceSlot, last: Object) -> None:
        await self._send(
            message_resource.build_membership(slot.node), membership.removed(last, now())
        )
        self._record.forget(slot)
        self._log(slot, "is gone from")

    def _log(self, slot: DeviceSlot, news: str) -> None:
        """Log a change, and whether its node gets it now: cloudhub drops it for an absent node."""
        connected = self._connected.get(slot.node)
        if connected is False:
            then = "which is not connected, and is told when it connects"
        else:
            then = "which is told" if connected else "which is told if it is connected"
        log.info("device %s %s node %s, %s", slot.name, news, slot.node, then)

    async def _change(self, slot: DeviceSlot, device: Object, told: Told) -> None:
        dropped = _dropped(told, device)
        news = {name: value for name, value in dropped.items() if name not in told.dropped}
        version = _version(device, told)
        now_told = Told(_kept(device), dropped, version)
        if not await self._is_recorded(slot.node, {slot.name: now_told}):
            self.queue.add_later(slot, _AGAIN)
            return
        await self._send(
            message_resource.build_device(
                slot.node, slot.name, message_resource.TWIN_CLOUD_UPDATED
            ),
            twin.cloud_updated(desired_of(device), news, version, now()),
        )
        self._record.put(slot, now_told)
        log.debug("node %s: sent changed twins of device %s", slot.node, slot.name)

    async def _is_recorded(self, node: str, told: Mapping[str, Told]) -> bool:
        """Have written what is about to be sent; whether the node is still connected then."""
        if self._takeovers is None or not told:
            return True
        rows = [(node, *row_of(DeviceSlot(node, name), each)) for name, each in told.items()]
        return await self._takeovers.promise(rows) and bool(self._connected.get(node))

    def _is_answered(self, node: str) -> bool:
        """Whether a node is sent its devices from here, and now; otherwise it asks elsewhere."""
        if self.takes_devices(node):
            if self._takeovers is None or self._connected.get(node):
                return True
            if self._takeovers.is_reading(node):
                return False
        for request in self._requests.pop(node, ()):
            request.done()
        return False

    async def _detail(self, node: str) -> None:
        if not self._is_answered(node):
            return
        requests = self._requests.get(node) or [_UNASKED]
        known = self._record.of_node(node)
        tell = {
            device["metadata"]["name"]: _whole(device, known.get(device["metadata"]["name"]))
            for device in self._inventory.on_node(node)
        }
        for name, told in known.items():
            if name not in tell and self._is_aside(told.device):
                tell[name] = told
        if not await self._is_recorded(node, tell):
            self.queue.add_later(node, _AGAIN)
            return
        at = now()
        described = [
            membership.describe(told.device, told.version, at, told.dropped)
            for told in tell.values()
        ]
        while requests:
            request = requests[0]
            await self._send(
                message_resource.cloud_resource(node, message_resource.MEMBERSHIP_DETAIL),
                membership.detail(described, request.event_id, at),
                operation="response",
                parent_id=request.message_id,
            )
            requests.remove(request)
            request.done()
        self._requests.pop(node, None)
        for name in known.keys() - tell.keys():
            self._record.forget(DeviceSlot(node, name))
        for name, told in tell.items():
            self._record.put(DeviceSlot(node, name), told)
        self._log_limit.put(node, logging.INFO, f"node {node}: sent all {len(tell)} devices")

    def _is_aside(self, device: Object) -> bool:
        return key_of(device) in self._inventory.aside

    async def _send(
        self, resource: str, content: Object, operation: str = "update", parent_id: str = ""
    ) -> None:
        message = ipc.Message.build(
            SOURCE, GROUP, operation, resource, content, parent_id=parent_id
        )
        await self._context.send("cloudhub", message)
        self.sent += 1


def _same(device: Object, told: Told) -> bool:
    """Whether this is the device that was sent, not another one of that name."""
    uid: str = device["metadata"].get("uid", "")
    former: str = told.device["metadata"].get("uid", "")
    return uid == former


def _whole(device: Object, told: Told | None) -> Told:
    """Return the full state to send of a device, given what was sent before."""
    dropped = _dropped(told, device) if told and _same(device, told) else {}
    return Told(_kept(device), dropped, _version(device, told))


def _version(device: Object, told: Told | None) -> int:
    """Return a version for the device that its node does not reject as outdated."""
    version = version_number(device)
    return max(version, told.version, version_number(told.device)) if told else version


def _dropped(told: Told, device: Object) -> dict[str, str]:
    """Return the properties that were sent to a node and that the device no longer has."""
    former = {name: wanted.value for name, wanted in desired_of(told.device).items()}
    kept = desired_of(device).keys()
    return {name: value for name, value in (told.dropped | former).items() if name not in kept}


def _kept(device: Object) -> Object:
    """Return the part of a device to record: without the spec, which may hold a password."""
    twins = device["status"]["twins"]
    return {
        "metadata": device["metadata"],
        "applied": device.get("applied", {}),
        "status": {
            "twins": [
                {"propertyName": one["propertyName"], "desired": one.get("desired") or {}}
                for one in twins
            ]
        },
    }

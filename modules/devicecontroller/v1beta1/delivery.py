"""Bringing nodes what they are to have of devices and models, until they have acknowledged it.

The messages are those of cloud/pkg/devicecontroller/controller/downstream.go, but level-triggered:
what is sent is decided by the state in the API and by the record when a node's turn comes. A device
waits until its node has acknowledged its model, without which an edge registers no device with its
mapper. What a node does not acknowledge in 5 s is sent again, with backoff, as its state is then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

import ipc
from modules.common.kube import NODES, Key, Object, SetAside, Subject
from modules.common.sync.journal import Item, Row
from modules.common.sync.keyed_queue import KeyedQueue
from modules.common.sync.record import Record
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.v1beta1 import messages
from modules.devicecontroller.v1beta1.in_flight import NodeInFlight, Sent
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import (
    DEVICE_TYPE,
    MODEL_TYPE,
    RESOURCES,
    for_edge,
    is_seen,
    model_of,
    protocol_of,
    remains,
    state_of,
    uid_of,
)
from supervisor.api import ModuleContext

#: Limit of devices in one message that adds or removes them.
_MOST_MEMBERS: Final = 100

Answers = Callable[[], list[ipc.Message]]

log = logging.getLogger(__name__)


class Delivery:
    """The only sender of devices of v1beta1; one worker, which takes the nodes in turns."""

    def __init__(
        self,
        context: ModuleContext,
        inventory: Inventory,
        record: Record,
        edges: Edges,
        set_aside: SetAside,
    ) -> None:
        self._context = context
        self._inventory = inventory
        self._record = record
        self._edges = edges
        self._set_aside = set_aside
        self._nodes: dict[str, NodeInFlight] = {}
        #: The last states of objects that nodes are not to have any more.
        self._last: dict[Item, Object] = {}
        self._queue: KeyedQueue[str] = KeyedQueue(self._handle, ipc.ChannelError, self._put_aside)
        #: What each node is answered with, made when its turn comes, and what to call then.
        self._answers: dict[str, list[tuple[Answers, Callable[[], None]]]] = {}
        self.sent = 0

    def __len__(self) -> int:
        return len(self._queue)

    async def run(self) -> None:
        """Send until cancelled."""
        await self._queue.run()

    def stop(self) -> None:
        """Cancel all timers."""
        self._queue.stop()
        for node in self._nodes.values():
            node.stop()

    def mark(self, node: str, type_: str, key: Key, last: Object | None = None) -> None:
        """Have an object compared with what a node has; `last` is its state before its end."""
        item = (type_, *key)
        if last is not None and self._record.row(node, item):
            self._last[item] = last
        if self._takes(node):
            self._node(node).mark(item)
            self._queue.add(node)

    def answer(self, node: str, answers: Answers, done: Callable[[], None]) -> None:
        """Enqueue the answers to a message of a node; `done` is called when they are sent."""
        self._answers.setdefault(node, []).append((answers, done))
        self._queue.add(node)

    def mark_all(self, node: str) -> None:
        """Have all compared that a node has, and all that it is to have."""
        if not self._takes(node):
            return
        items = [item for item in self._record.items(node) if item[0] in RESOURCES]
        items += [(MODEL_TYPE, *key) for key in self._inventory.models_of(node)]
        items += [(DEVICE_TYPE, *key) for key in self._inventory.on_node(node)]
        for item in items:
            self._node(node).mark(item)
        self._queue.add(node)

    def restart(self, node: str) -> None:
        """Begin anew with a node that has connected: nothing is in flight to it."""
        self.forget(node)
        self.mark_all(node)

    def lost(self, node: str) -> None:
        """Send a node again all that it has acknowledged: it has lost its database."""
        self._record.forget_seen(node)
        self.restart(node)

    def forget(self, node: str) -> None:
        """Forget what is in flight to a node: its connection has ended."""
        if known := self._nodes.pop(node, None):
            known.stop()

    def acknowledged(self, node: str, item: Item, message_id: str) -> None:
        """Record that a node has stored, or deleted, what a message was about."""
        known = self._nodes.get(node)
        sent = known.acknowledged(item, message_id) if known else None
        if sent is None:
            return
        if sent.state:
            self._record.acknowledge(node, item, sent.state)
        else:
            self._record.remove(node, [item])
            self._last.pop(item, None)
        # What has got the name of a deleted object, and the devices that waited for a model.
        self.mark(node, item[0], item[1:])
        if item[0] == MODEL_TYPE:
            for key in self._inventory.using(item[1:]):
                if self._inventory.wants(node, DEVICE_TYPE, key):
                    self.mark(node, DEVICE_TYPE, key)
        self._queue.add(node)

    def refused(self, node: str, item: Item, reason: str) -> None:
        """Log that a node could not store an object; it is sent again as if not acknowledged."""
        log.warning("%s: node %s answers %r; it is sent again", "/".join(item), node, reason)

    def members(self, node: str) -> list[Object]:
        """Return the list of a node's devices, and record that the node gets it."""
        keys = dict.fromkeys(self._inventory.on_node(node))
        for item in self._record.items(node):
            if item[0] == DEVICE_TYPE and self._keeps(node, item):
                keys[item[1:]] = None
        for key in keys:
            device = self._inventory.devices.get(key)
            if device and self._record.row(node, (DEVICE_TYPE, *key)) is None:
                self._tell(node, (DEVICE_TYPE, *key), device)
        self._record.commit()
        return [messages.describe(key, self._inventory.devices.get(key)) for key in keys]

    def _takes(self, node: str) -> bool:
        return self._edges.are_of_today(node) and self._edges.are_connected(node)

    def _node(self, node: str) -> NodeInFlight:
        if node not in self._nodes:
            self._nodes[node] = NodeInFlight(lambda item: self._again(node, item))
        return self._nodes[node]

    def _again(self, node: str, item: Item) -> None:
        """Have an object sent again that has not been acknowledged in time."""
        if self._takes(node):
            self._node(node).mark(item, is_change=False)
            self._queue.add(node)

    async def _handle(self, node: str) -> None:
        await self._answer(node)
        known = self._nodes.get(node)
        if known is None or not self._takes(node):
            return
        await self._send_members(node, known)
        while (item := known.next()) is not None:
            try:
                await self._bring(node, known, item)
            except ipc.ChannelError as error:
                if isinstance(error, ipc.MessageTooLarge | ipc.NotAMessage):
                    self._put_item_aside(item, error)
                    continue
                known.mark(item)
                raise
            except Exception as error:
                self._put_item_aside(item, error)

    async def _answer(self, node: str) -> None:
        waiting = self._answers.get(node, [])
        while waiting:
            answers, done = waiting[0]
            try:
                for message in answers():
                    await self._send(message)
            except ipc.ChannelError as error:
                if not isinstance(error, ipc.MessageTooLarge | ipc.NotAMessage):
                    raise
                self._put_aside(node, error)
            except Exception as error:
                self._put_aside(node, error)
            waiting.pop(0)
            done()
        self._answers.pop(node, None)

    async def _send_members(self, node: str, known: NodeInFlight) -> None:
        """Tell a node which devices it has got, and which it has no more, before the objects."""
        while due := known.members[:_MOST_MEMBERS]:
            added, removed = [], []
            for item in due:
                device = self._wanted(node, item)
                row = self._record.row(node, item)
                described = messages.describe(item[1:], device or self._last.get(item))
                if device and row is None:
                    self._tell(node, item, device)
                    added.append(described)
                elif device is None and row and not self._keeps(node, item):
                    removed.append(described)
            self._record.commit()
            if added or removed:
                await self._send(messages.membership(node, added, removed))
                self._log(node, added, removed)
            del known.members[: len(due)]

    async def _bring(self, node: str, known: NodeInFlight, item: Item) -> None:
        type_, key = item[0], item[1:]
        row = self._record.row(node, item)
        obj = self._wanted(node, item)
        if row and (obj is None or uid_of(obj) != row.uid):
            if obj is None and self._keeps(node, item):
                return
            known_states = (self._last.get(item), self._store(type_).get(key))
            last = next((each for each in known_states if each and uid_of(each) == row.uid), None)
            content = (
                for_edge(type_, last) if last else remains(type_, key, row.uid, row.payload or "")
            )
            message = messages.change(node, messages.DELETE, type_, key, content)
            await self._expect(known, item, message, "")
        elif obj is not None:
            if type_ == DEVICE_TYPE and not self._has_model(node, obj):
                return  # it is marked when the node has acknowledged the model
            state = state_of(obj)
            if row and is_seen(obj, row.seen):
                known.forget(item)
                if row.seen != state:
                    self._record.carry_over(node, item, state)
                return
            if known.has(item, state):
                return
            self._tell(node, item, obj)
            operation = messages.UPDATE if row and row.seen else messages.INSERT
            message = messages.change(node, operation, type_, key, for_edge(type_, obj))
            await self._expect(known, item, message, state)

    async def _expect(
        self, known: NodeInFlight, item: Item, message: ipc.Message, state: str
    ) -> None:
        """Send a message that a node acknowledges."""
        if not state and known.has(item, state):
            return
        self._record.commit()
        known.expect(item, Sent(message.id, state))
        await self._send(message)

    def _has_model(self, node: str, device: Object) -> bool:
        """Whether a node has a device's model; True if the device names none."""
        model = model_of(device)
        if model is None:
            return True
        row = self._record.row(node, (MODEL_TYPE, *model))
        wanted = self._inventory.models.get(model)
        if row is None or not row.seen:
            if wanted:
                self._node(node).mark((MODEL_TYPE, *model))
            return False
        return wanted is None or is_seen(wanted, row.seen)

    def _wanted(self, node: str, item: Item) -> Object | None:
        """Return the object that a node is to have, None if it is to have none."""
        type_, key = item[0], item[1:]
        if not self._inventory.wants(node, type_, key):
            return None
        return self._store(type_).get(key)

    def _store(self, type_: str) -> dict[Key, Object]:
        return self._inventory.models if type_ == MODEL_TYPE else self._inventory.devices

    def _keeps(self, node: str, item: Item) -> bool:
        """Whether a node keeps what there is no usable object of.

        A model while its devices use it, and what is set aside.
        """
        type_, key = item[0], item[1:]
        aside, devices = self._inventory.aside, self._inventory.devices
        if type_ == DEVICE_TYPE:
            return key in aside and key not in devices
        if self._inventory.wants(node, type_, key):
            return key not in self._inventory.models
        # A device that is set aside since before the start may use it.
        return any(
            each not in devices and self._record.row(node, (DEVICE_TYPE, *each)) for each in aside
        )

    def _tell(self, node: str, item: Item, obj: Object) -> None:
        """Record what a node is about to get of an object, and how to have it deleted."""
        protocol = protocol_of(item[0], obj) or None
        row = self._record.row(node, item)
        if row is None or row.uid != uid_of(obj):
            self._record.put(node, item, Row(uid_of(obj), payload=protocol))
        elif row.payload != protocol:
            self._record.put(node, item, row._replace(payload=protocol))

    async def _send(self, message: ipc.Message) -> None:
        await self._context.send("cloudhub", message)
        self.sent += 1

    def _log(self, node: str, added: Iterable[Object], removed: Iterable[Object]) -> None:
        for device in added:
            log.info("device %s: is added to node %s", device["id"], node)
        for device in removed:
            log.info("device %s: is gone from node %s", device["id"], node)

    def _put_item_aside(self, item: Item, error: Exception) -> None:
        type_, key = item[0], item[1:]
        obj = self._store(type_).get(key) or {"metadata": {"namespace": key[0], "name": key[1]}}
        self._set_aside.put(Subject.of(RESOURCES[type_], obj), error)

    def _put_aside(self, node: str, error: Exception) -> None:
        self._set_aside.put(Subject.of(NODES, {"metadata": {"name": node}}), error)

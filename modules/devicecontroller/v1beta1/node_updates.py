"""Bringing nodes what they are to have of devices and models, until they have acknowledged it.

The messages are those of cloud/pkg/devicecontroller/controller/downstream.go, but level-triggered:
what is sent is decided by the state in the API and by the record when a node's turn comes. A device
waits until its node has acknowledged its model, without which an edge registers no device with its
mapper. What a node does not acknowledge in 5 s is sent again, with backoff, as its state is then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

import ipc
from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE
from modules.common.kube import NODES, Key, Object, SetAside, Subject
from modules.common.sync.journal import Item
from modules.common.sync.keyed_queue import KeyedQueue
from modules.common.sync.record import Record
from modules.common.sync.takeovers import Takeovers
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.v1beta1.decisions import Decisions
from modules.devicecontroller.v1beta1.device_lists import DeviceLists, ListRequest
from modules.devicecontroller.v1beta1.in_flight import NodeInFlight, Sent
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import RESOURCES
from supervisor.api import ModuleContext

#: Nodes that are served at the same time while records are written to the API first.
_AT_ONCE: Final = 16
#: Seconds until an object is decided again whose record could not be written.
_AGAIN: Final = 5.0

log = logging.getLogger(__name__)


class NodeUpdater:
    """The only sender of devices of v1beta1, to one node after the other.

    As one of several replicas it serves several nodes at a time: before a message is sent, the
    record in the API has what it changes.
    """

    def __init__(
        self,
        context: ModuleContext,
        inventory: Inventory,
        record: Record,
        edges: Edges,
        set_aside: SetAside,
        *,
        has_statuses: Callable[[], bool],
        takeovers: Takeovers | None = None,
    ) -> None:
        """Set up; `has_statuses` says whether reports go into DeviceStatus, not the Device.

        With several replicas, `takeovers` writes rows of the record to the API before messages
        about them are sent.
        """
        self._takeovers = takeovers
        self._context = context
        self._inventory = inventory
        self._record = record
        self._edges = edges
        self._set_aside = set_aside
        self._decisions = Decisions(inventory, record, edges, has_statuses)
        self._nodes: dict[str, NodeInFlight] = {}
        self._queue: KeyedQueue[str] = KeyedQueue(self._handle, ipc.ChannelError, self._put_aside)
        self._lists = DeviceLists(
            self._decisions,
            edges,
            self._node,
            send=self._send,
            write_first=self._write_first,
            put_aside=self._put_aside,
        )
        self.sent = 0

    def __len__(self) -> int:
        return len(self._queue)

    def begin(self) -> None:
        """Compare what nodes have with what they are to have; the caches are complete."""
        for node in self._record.nodes():
            self._decisions.adopt(node)
        for node in {*self._inventory.nodes(), *self._record.nodes()}:
            self.mark_all(node)

    async def run(self) -> None:
        """Send until cancelled."""
        await self._queue.run(1 if self._takeovers is None else _AT_ONCE)

    def stop(self) -> None:
        """Cancel all timers."""
        self._queue.stop()
        for node in self._nodes.values():
            node.stop()

    def mark(self, node: str, type_: str, key: Key, last: Object | None = None) -> None:
        """Have an object compared with what a node has; `last` is its state before its end."""
        item = (type_, *key)
        if last is not None:
            self._decisions.remember(node, item, last)
        if self._takes(node):
            self._node(node).mark(item)
            self._queue.add(node)

    def keep_up(self, node: str, key: Key) -> None:
        """Take note of a device of which nothing has changed that is sent."""
        self._decisions.keep_up(node, (DEVICE_TYPE, *key))

    def send_list(self, node: str, request: ListRequest) -> None:
        """Enqueue the whole list of a node's devices, as they are when its turn comes.

        With several replicas it waits until the node's record has been read.
        """
        self._lists.request(node, request)
        self._queue.add(node)

    def mark_all(self, node: str) -> None:
        """Have all compared that a node has, and all that it is to have."""
        if not self._takes(node):
            return
        for item in self._decisions.items(node):
            self._node(node).mark(item)
        self._queue.add(node)

    def ids_changed(self, node: str) -> None:
        """Make a node's list equal to what it is to have: its edge has another form of ids."""
        if self._takes(node):
            self.send_list(node, ListRequest())

    def restart(self, node: str) -> None:
        """Begin anew with a node that has connected: nothing is in flight to it.

        It may have asked for its list before, and then has what it was answered.
        """
        before = self._nodes.get(node)
        self._forget(node)
        if before is not None:
            self._node(node).listed = before.listed
        if self._takeovers is not None:
            self._decisions.adopt(node)  # its record has been read from the API
        self.mark_all(node)

    def unsure(self, node: str, item: Item) -> None:
        """Send an object again: another replica has written what the node has of it."""
        self._record.doubt_row(node, item)
        if self._takes(node):
            known = self._node(node)
            known.forget(item)
            known.mark(item)
            self._queue.add(node)

    def lost(self, node: str) -> None:
        """Send a node again all that it has acknowledged: it has lost its database."""
        self._record.forget_seen(node)
        self.restart(node)

    def disconnected(self, node: str) -> None:
        """Forget what is in flight to a node, and what it has asked: its connection has ended."""
        self._forget(node)
        self._lists.drop(node)

    def acknowledged(self, node: str, item: Item, message_id: str) -> None:
        """Record that a node has stored, or deleted, what a message was about."""
        known = self._nodes.get(node)
        sent = known.acknowledged(item, message_id) if known else None
        if known is None or sent is None:
            return
        if sent.state or item not in known.listed:  # its list has what has come back meanwhile
            self._decisions.acknowledged(node, item, sent.state)
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

    def _forget(self, node: str) -> None:
        if known := self._nodes.pop(node, None):
            known.stop()

    def _takes(self, node: str) -> bool:
        return self._edges.are_of_today(node) and self._edges.are_connected(node)

    def _node(self, node: str) -> NodeInFlight:
        if node not in self._nodes:
            listed = self._decisions.acknowledged_devices(node)
            self._nodes[node] = NodeInFlight(lambda item: self._again(node, item), listed)
        return self._nodes[node]

    def _again(self, node: str, item: Item) -> None:
        """Decide anew on an object: it was not acknowledged in time, or could not be sent yet."""
        if self._takes(node):
            self._node(node).mark(item, is_change=False)
            self._queue.add(node)

    async def _handle(self, node: str) -> None:
        await self._lists.answer(node)
        known = self._nodes.get(node)
        if known is None or not self._takes(node):
            return
        await self._lists.update(node, known)
        while (item := known.next()) is not None:
            try:
                if not await self._bring(node, known, item):
                    return
            except ipc.ChannelError as error:
                if isinstance(error, ipc.MessageTooLarge | ipc.NotAMessage):
                    self._put_item_aside(item, error)
                    continue
                known.mark(item)
                raise
            except Exception as error:
                self._put_item_aside(item, error)

    async def _bring(self, node: str, known: NodeInFlight, item: Item) -> bool:
        """Send what a node is to be sent about an object, unless it is in flight.

        Returns whether to go on with the node now.
        """
        change = self._decisions.change(node, item)
        if change is None:
            if self._decisions.is_current(node, item):
                known.forget(item)
                self._decisions.keep_up(node, item)
            elif model := self._decisions.missing_model(node, item):
                known.mark(model)  # the device is marked when the node has acknowledged it
            return True
        if known.has(item, change.state):
            return True
        self._record.commit()
        failed = await self._write_first(node, [item])
        if failed is None or item in failed:
            return failed is not None
        known.expect(item, Sent(change.message.id, change.state))
        await self._send(change.message)
        return True

    async def _write_first(self, node: str, items: Collection[Item]) -> set[Item] | None:
        """Have written what messages to a node about these items change of the record.

        Returns those that could not be written, which are decided anew later. None: the node is
        not here any more, on the same connection.
        """
        if self._takeovers is None:
            return set()
        known = self._nodes.get(node)
        late = await self._takeovers.weaken((node, item) for item in items)
        failed = {item for _, item in late}
        if self._nodes.get(node) is not known:
            return None
        for type_, namespace, name in failed:
            asyncio.get_running_loop().call_later(_AGAIN, self.mark, node, type_, (namespace, name))
        return failed

    async def _send(self, message: ipc.Message) -> None:
        await self._context.send("cloudhub", message)
        self.sent += 1

    def _put_item_aside(self, item: Item, error: Exception) -> None:
        type_, key = item[0], item[1:]
        obj = self._decisions.object_of(item)
        named = obj or {"metadata": {"namespace": key[0], "name": key[1]}}
        self._set_aside.put(Subject.of(RESOURCES[type_], named), error)

    def _put_aside(self, node: str, error: Exception) -> None:
        self._set_aside.put(Subject.of(NODES, {"metadata": {"name": node}}), error)

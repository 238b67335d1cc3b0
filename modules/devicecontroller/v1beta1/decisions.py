"""What a node lacks of what it is to have: by the state in the API, and by the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import ipc
from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE
from modules.common.kube import Key, Object
from modules.common.sync.journal import Item, Row
from modules.common.sync.record import Record
from modules.devicecontroller.compressed import decompressed
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.v1beta1 import messages
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import (
    RESOURCES,
    for_edge,
    is_seen,
    model_of,
    node_of,
    protocol_of,
    remains,
    state_of,
    uid_of,
)


class Change(NamedTuple):
    """A message that a node acknowledges, and the state of the object; empty if it is deleted."""

    message: ipc.Message
    state: str


class Decisions:
    """Decides what is sent about each object; what is about to be sent is recorded."""

    def __init__(
        self,
        inventory: Inventory,
        record: Record,
        edges: Edges,
        has_statuses: Callable[[], bool],
    ) -> None:
        """Set up; `has_statuses` says whether reports go into DeviceStatus, not the Device."""
        self._inventory = inventory
        self._record = record
        self._edges = edges
        self._has_statuses = has_statuses
        #: The last states of objects that nodes are not to have any more.
        self._last: dict[Item, Object] = {}

    def adopt(self, node: str) -> None:
        """Record by digests what another cloud has recorded by versions alone.

        The versions change when statuses are written, such as our conditions.
        """
        for item, row in list(self._record.items(node).items()):
            obj = self._store(item[0]).get(item[1:]) if item[0] in RESOURCES else None
            if obj and uid_of(obj) == row.uid:
                self._record_update(node, item, obj)
                if row.seen and is_seen(obj, row.seen):
                    self._record.carry_over(node, item, state_of(obj))

    def remember(self, node: str, item: Item, last: Object) -> None:
        """Keep the last state of an object that a node may have to delete."""
        if self._record.row(node, item):
            self._last[item] = last

    def items(self, node: str) -> list[Item]:
        """Return all that a node has, and all that it is to have."""
        items = [item for item in self._record.items(node) if item[0] in RESOURCES]
        items += [(MODEL_TYPE, *key) for key in self._inventory.models_of(node)]
        items += [(DEVICE_TYPE, *key) for key in self._inventory.on_node(node)]
        return items

    def members(self, node: str) -> list[Item]:
        """Return the devices of a node's list, and record that the node gets them."""
        keys = dict.fromkeys(self._members(node))
        for item in self._record.items(node):
            if item[0] == DEVICE_TYPE and self._keeps(node, item):
                keys[item[1:]] = None
        for key in keys:
            device = self._inventory.devices.get(key)
            if device and self._record.row(node, (DEVICE_TYPE, *key)) is None:
                self._record_update(node, (DEVICE_TYPE, *key), device)
        self._record.commit()
        return [(DEVICE_TYPE, *key) for key in keys]

    def acknowledged_devices(self, node: str) -> set[Item]:
        """Return the devices that a node has stored for sure."""
        rows = self._record.items(node).items()
        return {item for item, row in rows if item[0] == DEVICE_TYPE and row.seen}

    def changed_members(
        self, node: str, items: Iterable[Item], listed: set[Item]
    ) -> tuple[list[Item], list[Item]]:
        """Return which of these devices are new in a node's list, and which are gone from it.

        `listed` are those that the list has.
        """
        added, removed = [], []
        for item in items:
            device, row = self._wanted(node, item), self._record.row(node, item)
            if self._is_to_go(node, item, device, row):
                self._record.about_to_delete(node, item)
                removed.append(item)
            elif device and item not in listed:
                self._record_update(node, item, device)
                added.append(item)
        self._record.commit()
        return added, removed

    def describe(self, node: str, item: Item) -> Object:
        """Return the entry of a device in a node's list."""
        device = self._wanted(node, item) or self._last.get(item)
        whole = device and decompressed(device)
        return messages.describe(self._edges.device_id(node, item[1:]), item[1:], whole)

    def gives_its_id(self, node: str, item: Item) -> bool:
        """Whether the id of a device that is gone is that of another one, which has come."""
        return self._edges.names_devices_alone(node) and bool(
            self._inventory.namesakes(node, self._edges.device_id(node, item[1:]))
        )

    def change(self, node: str, item: Item) -> Change | None:
        """Return what a node is to be sent about an object; None if nothing, or nothing yet."""
        obj, row = self._wanted(node, item), self._record.row(node, item)
        if row and self._is_to_go(node, item, obj, row):
            self._record.about_to_delete(node, item)
            return Change(self._deletion(node, item, row), "")
        if obj is None or self.is_current(node, item) or self.missing_model(node, item):
            return None
        is_known = row is not None and row.uid == uid_of(obj) and bool(row.seen)
        operation = messages.UPDATE if is_known else messages.INSERT
        self._record_update(node, item, obj)
        self._record.about_to_change(node, item)
        content = for_edge(item[0], obj)
        return Change(messages.change(node, operation, item[0], item[1:], content), state_of(obj))

    def is_current(self, node: str, item: Item) -> bool:
        """Whether a node has acknowledged the present state of an object."""
        obj, row = self._wanted(node, item), self._record.row(node, item)
        return obj is not None and row is not None and _has(row, obj)

    def keep_up(self, node: str, item: Item) -> None:
        """Record that a node has the present version of an object, if it is current.

        Its version changes with our conditions. Another cloud that goes on from ObjectSyncs
        compares versions, so that these are told, too; but not of each report in a Device.
        """
        obj = self._wanted(node, item)
        if obj is None or not self.is_current(node, item):
            return
        if self._has_statuses():
            self._record.acknowledge(node, item, state_of(obj))
        else:
            self._record.carry_over(node, item, state_of(obj))

    def missing_model(self, node: str, item: Item) -> Item | None:
        """Return the model that a node is to acknowledge before it is sent a device."""
        device = self._wanted(node, item) if item[0] == DEVICE_TYPE else None
        model = model_of(device) if device else None
        if model is None:
            return None
        missing = (MODEL_TYPE, *model)
        row = self._record.row(node, missing)
        wanted = self._inventory.models.get(model)
        if row is None or not row.seen or (wanted and not _has(row, wanted)):
            return missing
        return None

    def acknowledged(self, node: str, item: Item, state: str) -> None:
        """Record that a node has stored a state of an object, or deleted it (empty)."""
        if state:
            self._record.acknowledge(node, item, state)
        else:
            self._record.remove(node, [item])
            self._last.pop(item, None)

    def object_of(self, item: Item) -> Object | None:
        return self._store(item[0]).get(item[1:])

    def _deletion(self, node: str, item: Item, row: Row) -> ipc.Message:
        type_, key = item[0], item[1:]
        states = (self._last.get(item), self.object_of(item))
        last = next((each for each in states if each and _was_sent(node, item, row, each)), None)
        content = for_edge(type_, last) if last else remains(type_, key, row.uid, row.payload or "")
        return messages.change(node, messages.DELETE, type_, key, content)

    def _wanted(self, node: str, item: Item) -> Object | None:
        """Return the object that a node is to have, None if it is to have none."""
        if not self._inventory.wants(node, item[0], item[1:]) or self._name_is_taken(node, item):
            return None
        return self.object_of(item)

    def _name_is_taken(self, node: str, item: Item) -> bool:
        """Whether an edge that knows devices by their names has one of another namespace."""
        if item[0] != DEVICE_TYPE or not self._edges.names_devices_alone(node):
            return False
        return self._inventory.holder(node, item[2]) != item[1:]

    def _members(self, node: str) -> list[Key]:
        """Return the devices that a node's list is to have."""
        keys = self._inventory.on_node(node)
        return [key for key in keys if not self._name_is_taken(node, (DEVICE_TYPE, *key))]

    def _store(self, type_: str) -> dict[Key, Object]:
        return self._inventory.models if type_ == MODEL_TYPE else self._inventory.devices

    def _is_to_go(self, node: str, item: Item, obj: Object | None, row: Row | None) -> bool:
        """Whether a node has to delete what it has by a name, maybe before it gets another one."""
        if obj is None:
            return row is not None and not self._keeps(node, item)
        return row is not None and _is_another_device(item, obj, row)

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

    def _record_update(self, node: str, item: Item, obj: Object) -> None:
        """Record what a node is about to get of an object, and how to have it deleted."""
        protocol = protocol_of(item[0], obj) or None
        row = self._record.row(node, item)
        if row is None or row.uid != uid_of(obj):
            self._record.put(node, item, Row(uid_of(obj), payload=protocol))
        elif row.payload != protocol:
            self._record.put(node, item, row._replace(payload=protocol))


def _is_another_device(item: Item, obj: Object, row: Row) -> bool:
    """Whether a device has the name of one that a node has to delete first.

    A model takes the place of another one at once: an edge that starts without the model of a
    device does not register the device.
    """
    return item[0] == DEVICE_TYPE and uid_of(obj) != row.uid


def _was_sent(node: str, item: Item, row: Row, obj: Object) -> bool:
    """Whether a node that has the object of a row was sent it with this node and protocol."""
    if uid_of(obj) != row.uid or row.payload not in (None, protocol_of(item[0], obj)):
        return False
    return item[0] == MODEL_TYPE or node_of(obj) == node


def _has(row: Row, obj: Object) -> bool:
    return row.uid == uid_of(obj) and is_seen(obj, row.seen)

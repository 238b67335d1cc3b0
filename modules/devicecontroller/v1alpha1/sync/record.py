"""What has been sent to each edge node of its devices, which survives restarts of this module.

The difference between the record and the inventory is what has to be sent. So a restart sends
nothing twice, and misses no change made meanwhile. Losing the file is safe: its content is sent
again, and nodes ask for all of their devices when they connect.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from modules.common.disk_failures import Trouble
from modules.common.kube import DEVICES, Object
from modules.common.sync.journal import Item, Row
from modules.common.sync.record import Record
from modules.common.sync.sync_form import NO_NAMESPACE
from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot

#: The type in the rows of devices.
_DEVICE: Final = "device"

#: What ObjectSyncs name: edges know devices by their names alone, so that there is no namespace.
KINDS: Final = {_DEVICE: replace(DEVICES, namespaced=False)}

#: The SQLite file of versions up to 0.1.0, beside that of today.
_FORMER: Final = "announced.sqlite3"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """A device as it was sent to its node.

    `dropped` are properties that it once had, with their last desired values: edges of v1.1
    acknowledge nothing, so these are sent again to a node that connects. `version` is the highest
    version sent: nodes reject lower ones, which objects have after the API server was restored from
    a backup.
    """

    device: Object
    dropped: dict[str, str] = field(default_factory=dict)
    version: int = 0


decode = msgspec.json.Decoder(Told).decode


class SyncRecord:
    """The devices in the record, each as the payload of its row."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one; that of an earlier version is read once, and removed."""
        former = _read_former(path)
        self._record = Record(path, decode)
        self._name_without_namespace()
        for slot, told in former.items():
            self.put(slot, told)
        if former:
            self.flush()
        _remove_former(path)

    @property
    def trouble(self) -> Trouble:
        """The state of the file."""
        return self._record.trouble

    def close(self) -> None:
        self._record.close()

    def slots(self) -> Iterator[DeviceSlot]:
        """Return all slots of which a device was sent."""
        for node in self._record.nodes():
            for kind, _, name in self._record.items(node):
                if kind == _DEVICE:
                    yield DeviceSlot(node, name)

    def get(self, slot: DeviceSlot) -> Told | None:
        row = self._record.row(slot.node, _item(slot))
        return row and row.payload

    def of_node(self, node: str) -> Mapping[str, Told]:
        """Return what was sent to a node, by the device's name."""
        items = self._record.items(node).items()
        return {
            name: row.payload
            for (kind, _, name), row in items
            if kind == _DEVICE and row.payload  # in the API somebody may have removed it
        }

    def generations(self) -> dict[str, str]:
        """Return the protocol generation of each node's edge, if it is recorded."""
        return self._record.generations()

    def set_generation(self, node: str, generation: str) -> None:
        """Record the protocol generation of a node's edge; empty: none."""
        self._record.set_generation(node, generation)
        self._record.flush()

    def put(self, slot: DeviceSlot, told: Told) -> None:
        """Record what was sent of a slot."""
        self._record.put(slot.node, *row_of(slot, told))
        self._record.commit()

    def forget(self, slot: DeviceSlot) -> None:
        """Record that a slot's node has no device there."""
        self._record.remove(slot.node, [_item(slot)])
        self._record.flush()

    def _name_without_namespace(self) -> None:
        """Rename the items of files that are of version 0.1.0 or older."""
        for node in self._record.nodes():
            former = [item for item in self._record.items(node) if item[:2] == (_DEVICE, "")]
            for item in former:
                row = self._record.items(node)[item]
                self._record.put(node, (_DEVICE, NO_NAMESPACE, item[2]), row)
            self._record.remove(node, former)

    @property
    def rows(self) -> Record:
        """The record as a store of rows, which can be kept elsewhere too."""
        return self._record

    def flush(self) -> None:
        """Write what is not in the file yet, if there is room."""
        self._record.flush()


def row_of(slot: DeviceSlot, told: Told) -> tuple[Item, Row]:
    """Return what the record has of a device, with its item."""
    return _item(slot), Row(told.device["metadata"].get("uid", ""), payload=told)


def _item(slot: DeviceSlot) -> Item:
    return _DEVICE, NO_NAMESPACE, slot.name


def _read_former(path: Path) -> dict[DeviceSlot, Told]:
    """Return what the file of an earlier version has."""
    former = path.with_name(_FORMER)
    found: dict[DeviceSlot, Told] = {}
    if path.exists() or not former.exists():
        return {}
    try:
        with closing(sqlite3.connect(former)) as database:
            for node, name, told in database.execute("SELECT node, name, told FROM told"):
                found[DeviceSlot(node, name)] = decode(told)
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        log.warning(
            "cannot read %s: %s; starting with an empty record: nodes get their devices again",
            former,
            error,
        )
        return {}
    log.info("%s: its %d devices are taken over to %s", former, len(found), path)
    return found


def _remove_former(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(_FORMER + suffix).unlink(missing_ok=True)

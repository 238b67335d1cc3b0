"""The record of what has been sent to each edge node, which survives restarts of this module.

The difference between the record and the inventory is what has to be sent. So a restart sends
nothing twice, and misses no change made meanwhile. Losing the file is safe: its content is sent
again, and nodes ask for all of their devices when they connect.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from modules.common.disk_failures import Trouble, temporary
from modules.common.kube import Object
from modules.devicecontroller.sync.inventory import DeviceSlot

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


_decode = msgspec.json.Decoder(Told).decode


class SyncRecord:
    """The record, in memory for reading and in an SQLite file for the next process."""

    def __init__(self, path: Path) -> None:
        """Name the file; entering the context opens it."""
        self._path = path
        self._told: defaultdict[str, dict[str, Told]] = defaultdict(dict)
        self._unwritten: dict[DeviceSlot, None] = {}
        self._database: sqlite3.Connection
        self.trouble = Trouble(path, "what is sent to nodes is recorded in memory alone")

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._load()
        except sqlite3.OperationalError as error:
            # The disk or its permissions, not the content of the file.
            if failure := temporary(error, self._path):
                raise failure from error
            raise
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
            log.warning(
                "cannot read %s: %s; starting with an empty record: nodes get their devices again",
                self._path,
                error,
            )
            self._database.close()
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._load()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def slots(self) -> Iterator[DeviceSlot]:
        """Return all slots of which a device was sent."""
        for node, devices in self._told.items():
            for name in devices:
                yield DeviceSlot(node, name)

    def get(self, slot: DeviceSlot) -> Told | None:
        return self.of_node(slot.node).get(slot.name)

    def of_node(self, node: str) -> Mapping[str, Told]:
        """Return what was sent to a node, by the device's name."""
        return self._told.get(node, {})

    def put(self, slot: DeviceSlot, told: Told) -> None:
        """Record what was sent of a slot."""
        self._told[slot.node][slot.name] = told
        self._changed(slot)

    def forget(self, slot: DeviceSlot) -> None:
        """Record that a slot's node has no device there."""
        self._told[slot.node].pop(slot.name, None)
        if not self._told[slot.node]:
            del self._told[slot.node]
        self._changed(slot)

    def flush(self) -> None:
        """Write what a full disk has kept from being written, if there is room now."""
        try:
            while self._unwritten:
                self._write(next(iter(self._unwritten)))
        except sqlite3.Error as error:
            failure = temporary(error, self._path)
            if failure is None:
                raise
            self.trouble.began(failure)
        else:
            self.trouble.ended()

    def _changed(self, slot: DeviceSlot) -> None:
        self._unwritten[slot] = None
        if not self.trouble.reason:
            self.flush()

    def _write(self, slot: DeviceSlot) -> None:
        told = self.get(slot)
        if told is None:
            self._database.execute("DELETE FROM told WHERE node = ? AND name = ?", slot)
        else:
            self._database.execute(
                "INSERT OR REPLACE INTO told VALUES (?, ?, ?)", (*slot, msgspec.json.encode(told))
            )
        del self._unwritten[slot]

    def _load(self) -> None:
        self._path.touch(mode=0o600)
        # Without fsync: a lost write costs only a message that is sent twice.
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS told"
            " (node TEXT, name TEXT, told BLOB, PRIMARY KEY (node, name)) WITHOUT ROWID"
        )
        self._told.clear()
        for node, name, told in self._database.execute("SELECT node, name, told FROM told"):
            self._told[node][name] = _decode(told)

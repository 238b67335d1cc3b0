"""What each edge node has been told of its devices, kept across restarts of this module.

The difference between this and the inventory is what has still to be said. So a restart tells
nobody anything twice, and nothing is missed that changed meanwhile. Losing the file is safe:
what it held is told again, and nodes ask for everything when they connect.
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

from modules.common.kube import Object
from modules.common.storage import Trouble, temporary
from modules.devicecontroller.sync.inventory import DeviceSlot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """A device as its node was told of it.

    `dropped` are properties that it once had, with their last desired values: no edge of v1.1
    confirms what it is told, so a node that connects is told of them again. `version` is the
    highest that it was told: it refuses lower ones, which objects have when the API server was
    put back from a copy.
    """

    device: Object
    dropped: dict[str, str] = field(default_factory=dict)
    version: int = 0


_decode = msgspec.json.Decoder(Told).decode


class SyncRecord:
    """The record: in memory to read, in one SQLite file to outlive the process."""

    def __init__(self, path: Path) -> None:
        """Name the file; entering the context opens it."""
        self._path = path
        self._told: defaultdict[str, dict[str, Told]] = defaultdict(dict)
        self._unwritten: dict[DeviceSlot, None] = {}
        self._database: sqlite3.Connection
        self.trouble = Trouble(path, "what nodes are told is kept in memory alone")

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._load()
        except sqlite3.OperationalError as error:
            # The disk or its rights, not what is in the file.
            if failure := temporary(error, self._path):
                raise failure from error
            raise
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as error:
            log.warning(
                f"{self._path} cannot be read ({error}): starting it anew; nodes will be told of "
                f"their devices again"
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
        """All slots whose node was told of a device."""
        for node, devices in self._told.items():
            for name in devices:
                yield DeviceSlot(node, name)

    def get(self, slot: DeviceSlot) -> Told | None:
        return self.of_node(slot.node).get(slot.name)

    def of_node(self, node: str) -> Mapping[str, Told]:
        """What a node was told, by the device's name."""
        return self._told.get(node, {})

    def put(self, slot: DeviceSlot, told: Told) -> None:
        """Note what a slot's node knows now."""
        self._told[slot.node][slot.name] = told
        self._changed(slot)

    def forget(self, slot: DeviceSlot) -> None:
        """Note that a slot's node knows of no device there."""
        self._told[slot.node].pop(slot.name, None)
        if not self._told[slot.node]:
            del self._told[slot.node]
        self._changed(slot)

    def flush(self) -> None:
        """Write what could not be written before, if there is room for it now."""
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
        # A lost write costs a message told twice, so nothing waits for the disk.
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

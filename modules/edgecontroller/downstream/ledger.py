"""What each node may have, on disk: so that a deletion is told even if it was missed here.

A row is written before the object is sent and goes when the node has acknowledged its deletion.
It therefore says "may have", which is what deletions need; sending a delete twice does no harm.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from modules.edgecontroller.downstream.references import Item

#: Stands for every edge node in the rows of what all of them get (services, endpoints).
EVERY_NODE = "*"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS told (
    node TEXT NOT NULL, type TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    uid TEXT NOT NULL,
    PRIMARY KEY (node, type, namespace, name)
) WITHOUT ROWID
"""

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """A node may have this very object; another of its name has another uid."""

    node: str
    item: Item
    uid: str


class Ledger:
    """The rows in memory, and in an SQLite file.

    The file is not synced: it outlives this process, though maybe not a power cut; after one, a
    deletion made in the meantime can go untold.
    """

    def __init__(self, path: Path) -> None:
        self._told: defaultdict[str, dict[Item, str]] = defaultdict(dict)
        self._database = _open(path)
        rows = self._database.execute("SELECT node, type, namespace, name, uid FROM told")
        for node, type_, namespace, name, uid in rows:
            self._told[node][type_, namespace, name] = uid

    def __len__(self) -> int:
        return sum(map(len, self._told.values()))

    def close(self) -> None:
        self._database.close()

    def uid(self, node: str, item: Item) -> str | None:
        """Return which object of that name a node may have; None if it has none."""
        return self.items(node).get(item)

    def items(self, node: str) -> Mapping[Item, str]:
        return self._told.get(node, {})

    def add(self, rows: Iterable[Told]) -> None:
        """Note what is about to be sent, in one transaction."""
        new = [row for row in rows if self.uid(row.node, row.item) != row.uid]
        if not new:
            return
        for node, item, uid in new:
            self._told[node][item] = uid
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?)",
                [(node, *item, uid) for node, item, uid in new],
            )

    def remove(self, node: str, items: Iterable[Item]) -> None:
        """Note that a node no longer has these, in one transaction."""
        gone = [item for item in items if self._told[node].pop(item, None) is not None]
        if not self._told[node]:
            del self._told[node]
        if gone:
            with self._database:
                self._database.executemany(
                    "DELETE FROM told WHERE node = ? AND type = ? AND namespace = ? AND name = ?",
                    [(node, *item) for item in gone],
                )


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        aside = path.with_name(path.name + ".unusable")
        log.error(f"{path} is not usable ({error}): kept as {aside}, starting with an empty one")
        path.replace(aside)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(_SCHEMA)
        database.execute("SELECT count(*) FROM told").fetchone()
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database

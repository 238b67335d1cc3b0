"""The record of what each node has been told: one for both controllers and all generations.

A row says that a node may have an object. It is written before the object is sent, and removed
when the node has acknowledged the deletion, so a deletion is sent even if the module was down when
it happened; to send it twice does no harm. The row also has the version that the node has
acknowledged, which need not be sent again after a restart.

The rows are in memory and in a file (journal.py). A second store can be told of each change, such
as one that keeps them in the Kubernetes API (object_syncs.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from modules.common.disk_failures import Trouble
from modules.common.sync.absences import KEEP, Absences
from modules.common.sync.journal import STALE, Item, Journal, Row

#: Seconds for which the rows of a node without a Node are kept, and between looks for them.
KEEP_ROWS: Final = KEEP
DROP_INTERVAL: Final = 600.0

log = logging.getLogger(__name__)

#: Stands for every edge node in the rows of what all of them get (services, endpoints).
EVERY_NODE: Final = "*"

#: Stands for the uid of an object that a node was denied, and may have stored as empty.
DENIED: Final = "denied"

#: The rows about a node itself: the protocol generation of its edge, and for how many seconds it
#: has had no Node, as far as they were counted; both are in the place of the uid.
_GENERATION: Final[Item] = ("generation", "", "")
_ABSENT: Final[Item] = ("absent", "", "")
#: Earlier cloudcores wrote since when, by the wall clock.
_GONE: Final[Item] = ("gone", "", "")
#: The types of these rows, which no node was sent.
TYPES_OF_NODE: Final = frozenset(item[0] for item in (_GENERATION, _ABSENT, _GONE))


class Store(Protocol):
    """A second place in which rows are kept."""

    def changed(self, node: str, item: Item, before: Row | None, after: Row | None) -> None:
        """Take note of a row that has changed; it is written later."""


class Record:
    """The rows, by node and item.

    `commit` writes the rows of what is about to be sent; acknowledgements are written with it or
    by `flush`, and a lost one costs a message that is sent again.
    """

    def __init__(self, path: Path, decode: Callable[[msgspec.Raw], Any] | None = None) -> None:
        """Read the file, if there is one; `decode` decodes the payloads of its rows.

        Raises OSError, and TemporaryFailure for a disk that cannot be read.
        """
        self._rows: defaultdict[str, dict[Item, Row]] = defaultdict(dict)
        self._count = 0
        self._uncommitted = False
        self._journal = Journal(path, self._all, decode)
        self._absences = Absences()
        self._second: Store | None = None
        self.on_forget: Callable[[str], None] = lambda _: None
        """called with a node that may have lost its objects"""
        for node, item, row in self._journal.load():
            if row is None:
                self._rows[node].pop(item, None)
            else:
                self._rows[node][item] = row
        self._count = sum(map(len, self._rows.values()))
        self.flush()

    def __len__(self) -> int:
        return self._count

    @property
    def trouble(self) -> Trouble:
        """The state of the file."""
        return self._journal.trouble

    def keep_in(self, store: Store) -> None:
        """Keep all changes in a second store too."""
        self._second = store

    def close(self) -> None:
        self.flush()
        self._journal.close()

    def uid(self, node: str, item: Item) -> str | None:
        """Return the uid of the object of that name that a node may have; None if it has none."""
        row = self.row(node, item)
        return row and row.uid

    def seen(self, node: str, item: Item) -> str:
        """Return the version that a node has acknowledged; empty if none is known."""
        row = self.row(node, item)
        return row.seen if row else ""

    def row(self, node: str, item: Item) -> Row | None:
        rows = self._rows.get(node)
        return rows.get(item) if rows else None

    def nodes(self) -> list[str]:
        """Return the nodes that may have objects."""
        return [node for node in self._rows if node != EVERY_NODE]

    def items(self, node: str) -> Mapping[Item, Row]:
        return self._rows.get(node, {})

    def generations(self) -> dict[str, str]:
        """Return the protocol generation of the edges of each node for which it is recorded."""
        rows = ((node, self.row(node, _GENERATION)) for node in self.nodes())
        return {node: row.uid for node, row in rows if row}

    def set_generation(self, node: str, generation: str) -> None:
        """Record the protocol generation of a node's edge; empty: none."""
        if generation:
            self.tell(node, _GENERATION, generation)
        else:
            self.remove(node, [_GENERATION])

    def node_exists(self, node: str) -> None:
        """Keep a node's rows: it has a Node, maybe again."""
        self.remove(node, [_ABSENT, _GONE])
        self._absences.ended(node)

    def drop_gone(self, node: str, keep_seconds: float) -> bool:
        """Note that a node has no Node, and drop its rows if that is so for `keep_seconds`.

        Until then an edge that comes back is sent the deletions that it has missed. Returns
        whether the rows were dropped.
        """
        counted = self.uid(node, _ABSENT)
        if counted is None or not counted.isdecimal():
            if self.items(node):
                self._count_absence(node, 0)
            return False
        seconds = self._absences.seconds(node, int(counted))
        if seconds >= keep_seconds:
            self.remove(node, list(self.items(node)))
            self._absences.ended(node)
            return True
        if self._absences.is_to_be_written(node):
            self._count_absence(node, seconds)
        return False

    def _count_absence(self, node: str, seconds: int) -> None:
        self.remove(node, [_GONE])
        self.tell(node, _ABSENT, str(seconds))
        self._absences.written(node)

    def tell(self, node: str, item: Item, uid: str) -> None:
        """Record that an object is about to be sent; another one of its name has another uid."""
        row = self.row(node, item)
        if row is None or row.uid != uid:
            self.put(node, item, Row(uid))

    def put(self, node: str, item: Item, row: Row) -> None:
        """Record a row that is about to be sent, or that another store has."""
        self._set(node, item, row)
        self._uncommitted = True

    def doubt(self, node: str, item: Item) -> None:
        """Mark the list that a node has acknowledged as stale before a change to a member is sent.

        The list's version would not show it: an add followed by a delete leaves it unchanged.
        """
        if self.seen(node, item) not in ("", STALE):
            self.acknowledge(node, item, STALE)
            self._uncommitted = True

    def about_to_delete(self, node: str, item: Item) -> None:
        """Record that a node is about to be sent a deletion: it is not sure to have the object.

        Should the node be to have it again before it has acknowledged that, it is sent once more.
        """
        row = self.row(node, item)
        if row is not None and row.seen:
            self._set(node, item, _unsure(row))
            self._uncommitted = True

    def about_to_change(self, node: str, item: Item) -> None:
        """Record that a node is about to be sent another state of an object that it has.

        Its state before, should the object have that again, is sent once more. It is for states
        that can come again, as hashes can; a second store has versions, which cannot.
        """
        row = self.row(node, item)
        if row is not None and row.seen not in ("", STALE):
            self.replace_rows(node, {item: row._replace(seen=STALE, doubted=row.seen)}, ())
            self._uncommitted = True

    def commit(self) -> None:
        """Write the rows of what is about to be sent."""
        if self._uncommitted and self._journal.is_written:
            self.flush()

    def acknowledge(self, node: str, item: Item, version: str) -> None:
        """Record the version that a node has acknowledged; a later `flush` writes it."""
        row = self.row(node, item)
        if row is not None and row.seen != version:
            self._set(node, item, row._replace(seen=version, doubted=""))

    def carry_over(self, node: str, item: Item, version: str) -> None:
        """Record that a newer version is no other to a node, which has acknowledged an older one.

        A second store is not told: that costs at most one message that is sent again.
        """
        row = self._rows[node][item]
        self._rows[node][item] = row = row._replace(seen=version)
        self._journal.add(node, item, row)

    def has_second(self, node: str, item: Item) -> bool:
        """Whether the second store is known to have had a row for this item."""
        row = self.row(node, item)
        return row is not None and row.in_second

    def note_second(self, node: str, item: Item, uid: str) -> None:
        """Note that the second store has the row now."""
        row = self.row(node, item)
        if row is not None and row.uid == uid and not row.in_second:
            self._rows[node][item] = row = row._replace(in_second=True)
            self._journal.add(node, item, row)

    def forget_seen(self, node: str) -> None:
        """Forget all acknowledgements of a node, which may have lost its objects."""
        self.on_forget(node)
        for item, row in self.items(node).items():
            if row.seen:
                self._set(node, item, _unsure(row))

    def note_row(self, node: str, item: Item, row: Row) -> None:
        """Record a row, if there is none of the item, without a word to the second store."""
        if self.row(node, item) is None:
            self.replace_rows(node, {item: row}, ())

    def doubt_row(self, node: str, item: Item) -> None:
        """Forget the acknowledged version of a row, without a word to the second store."""
        row = self.row(node, item)
        if row is not None and row.seen:
            self.replace_rows(node, {item: row._replace(seen="")}, ())

    def replace_rows(self, node: str, rows: Mapping[Item, Row], types: Container[str]) -> None:
        """Replace a node's rows of some types by those that the second store has."""
        gone = [item for item in self.items(node) if item[0] in types and item not in rows]
        second, self._second = self._second, None
        try:
            self.remove(node, gone)
            for item, row in rows.items():
                self._set(node, item, row)
        finally:
            self._second = second

    def remove(self, node: str, items: Iterable[Item]) -> None:
        """Record that a node no longer has these items."""
        rows = self._rows.get(node)
        if rows is None:
            return
        for item in items:
            before = rows.pop(item, None)
            if before is not None:
                self._count -= 1
                self._note(node, item, before, None)
        if not rows:
            del self._rows[node]

    def flush(self) -> None:
        """Write all rows that are not in the file yet; after a full disk, the next call does."""
        self._journal.flush(self._count)
        self._uncommitted = False

    def _set(self, node: str, item: Item, row: Row) -> None:
        rows = self._rows[node]
        before = rows.get(item)
        self._count += before is None
        rows[item] = row
        self._note(node, item, before, row)

    def _note(self, node: str, item: Item, before: Row | None, after: Row | None) -> None:
        self._journal.add(node, item, after)
        if self._second is not None:
            self._second.changed(node, item, before, after)

    def _all(self) -> Iterator[tuple[str, Item, Row]]:
        for node, rows in self._rows.items():
            for item, row in rows.items():
                yield node, item, row


def _unsure(row: Row) -> Row:
    return row._replace(seen="", doubted=row.doubted if row.seen == STALE else row.seen)


async def drop_rows_of_gone_nodes(record: Record, has_node: Callable[[str], bool]) -> None:
    """Drop the rows of nodes that have had no Node for a day, until cancelled.

    Until then a node may come back, maybe with its database, and is sent the deletions missed.
    """
    while True:
        for node in record.nodes():
            if has_node(node):
                record.node_exists(node)
            elif record.drop_gone(node, KEEP_ROWS):
                log.info("node %s: has had no Node for a day, its record is dropped", node)
        await asyncio.sleep(DROP_INTERVAL)

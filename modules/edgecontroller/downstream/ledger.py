"""The ledger: a record on disk of the objects that each node may have.

With it a deletion is sent even if this module was down when it happened. A row is written before
the object is sent, and removed when the node has acknowledged its deletion. So it says what a node
"may have", which is what deletions need; to send a delete twice does no harm. The row also has the
version that the node has acknowledged, which need not be sent again after a restart.

The file is a journal with one JSON array per line: a write, which is needed for each object sent,
is one system call and takes a tenth of the CPU time of an SQLite transaction.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from ipc.files import replacing
from modules.common.disk_failures import Trouble, temporary
from modules.edgecontroller.downstream.references import Item

#: Stands for every edge node in the rows of what all of them get (services, endpoints).
EVERY_NODE = "*"

#: The version of a list of which a member was sent after the node had acknowledged the list.
STALE = "-"

#: The row of a node that has the protocol generation of its edge as uid.
_GENERATION: Item = ("generation", "", "")

#: The file is compacted when it has more lines than four per row and this.
_SLACK = 10_000

#: node, type, namespace, name, uid (null: the row is gone), acknowledged version
_Line = tuple[str, str, str, str, str | None, str]

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(_Line).decode

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """An object that a node may have; `seen` is the version it has acknowledged, or ""."""

    uid: str
    seen: str = ""


class Ledger:
    """The rows, in memory and in an append-only file.

    The file is written without fsync: it survives a crash of this process, but maybe not a power
    cut, after which a deletion can be missed. `commit` writes the rows of what is about to be
    sent; acknowledgements are written with it or by `flush`, and a lost one costs a message that
    is sent again. While the disk is full, rows are kept in memory and sending goes on: a deletion
    is missed only if this process exits before there is room again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: defaultdict[str, dict[Item, Row]] = defaultdict(dict)
        self._count = 0
        self._unwritten: list[_Line] = []
        self._uncommitted = False
        #: None if the file has to be written from scratch.
        self._file: int | None = None
        self._lines = 0
        self.trouble = Trouble(path, "what is sent is recorded in memory alone")
        self._load()
        self._count = sum(map(len, self._rows.values()))
        self.flush()

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        self.flush()
        self._close_file()

    def uid(self, node: str, item: Item) -> str | None:
        """Return the uid of the object of that name that a node may have; None if it has none."""
        row = self._row(node, item)
        return row and row.uid

    def seen(self, node: str, item: Item) -> str:
        """Return the version that a node has acknowledged; empty if none is known."""
        row = self._row(node, item)
        return row.seen if row else ""

    def nodes(self) -> list[str]:
        """Return the nodes that may have objects."""
        return [node for node in self._rows if node != EVERY_NODE]

    def generations(self) -> dict[str, str]:
        """Return the protocol generation of the edges of each node for which it is recorded."""
        rows = ((node, self._row(node, _GENERATION)) for node in self.nodes())
        return {node: row.uid for node, row in rows if row}

    def set_generation(self, node: str, generation: str) -> None:
        """Record the protocol generation of a node's edge; empty: none."""
        if generation:
            self.tell(node, _GENERATION, generation)
        else:
            self.remove(node, [_GENERATION])

    def items(self, node: str) -> Mapping[Item, Row]:
        return self._rows.get(node, {})

    def tell(self, node: str, item: Item, uid: str) -> None:
        """Record that an object is about to be sent; another one of its name has another uid."""
        row = self._row(node, item)
        if row is None or row.uid != uid:
            self._set(node, item, Row(uid))
            self._uncommitted = True

    def doubt(self, node: str, item: Item) -> None:
        """Mark the list that a node has acknowledged as stale before a change to a member is sent.

        The list's version would not show it: an add followed by a delete leaves it unchanged.
        """
        if self.seen(node, item) not in ("", STALE):
            self.acknowledge(node, item, STALE)
            self._uncommitted = True

    def commit(self) -> None:
        """Write the rows of what is about to be sent."""
        if self._uncommitted and self._file is not None:
            self.flush()

    def acknowledge(self, node: str, item: Item, version: str) -> None:
        """Record the version that a node has acknowledged; a later `flush` writes it."""
        row = self._row(node, item)
        if row is not None and row.seen != version:
            self._set(node, item, Row(row.uid, version))

    def forget_seen(self, node: str) -> None:
        """Forget all acknowledgements of a node, which may have lost its objects."""
        for item, row in self.items(node).items():
            if row.seen:
                self._set(node, item, Row(row.uid))

    def remove(self, node: str, items: Iterable[Item]) -> None:
        """Record that a node no longer has these items."""
        for item in items:
            if self._rows[node].pop(item, None) is not None:
                self._count -= 1
                self._unwritten.append((node, *item, None, ""))
        if not self._rows[node]:
            del self._rows[node]

    def flush(self) -> None:
        """Write all rows that are not in the file yet; after a full disk, the next call does."""
        try:
            if self._file is None:
                self._rewrite()
            elif self._unwritten:
                self._append(self._file)
        except OSError as error:
            failure = temporary(error, self._path)
            if failure is None:
                raise
            self._close_file()  # its last line may be half a line
            self.trouble.began(failure)
        else:
            self.trouble.ended()
        self._unwritten.clear()
        self._uncommitted = False

    def _append(self, file: int) -> None:
        self._lines += len(self._unwritten)
        _write(file, self._unwritten)
        if self._lines > 4 * self._count + _SLACK:
            self._rewrite()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _row(self, node: str, item: Item) -> Row | None:
        rows = self._rows.get(node)
        return rows.get(item) if rows else None

    def _set(self, node: str, item: Item, row: Row) -> None:
        rows = self._rows[node]
        self._count += item not in rows
        rows[item] = row
        self._unwritten.append((node, *item, *row))

    def _load(self) -> None:
        """Read the file, up to a line damaged by a power cut or a full disk."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    node, type_, namespace, name, uid, seen = _decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._set_aside(number, error)
                    return
                if uid is None:
                    self._rows[node].pop((type_, namespace, name), None)
                else:
                    self._rows[node][type_, namespace, name] = Row(uid, seen)

    def _set_aside(self, number: int, error: Exception) -> None:
        aside = self._path.with_name(self._path.name + ".unusable")
        log.error(
            "%s is damaged in line %d (%s): kept as %s; deletions of objects recorded from there "
            "on may not be sent",
            self._path,
            number,
            error,
            aside,
        )
        self._path.replace(aside)

    def _rewrite(self) -> None:
        """Write the present rows to a new file, and replace the old one with it."""
        lines = list(self._all_lines())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path, sync=False) as new:
            _write(new.fileno(), lines)
        self._close_file()
        self._file = os.open(self._path, _APPEND)
        self._lines = len(lines)

    def _all_lines(self) -> Iterator[_Line]:
        for node, rows in self._rows.items():
            for item, row in rows.items():
                yield node, *item, *row


def _write(file: int, lines: list[_Line]) -> None:
    data = _encode_lines(lines)
    while data:
        data = data[os.write(file, data) :]

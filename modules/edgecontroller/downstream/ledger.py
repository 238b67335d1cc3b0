"""What each node may have, on disk: so that a deletion is told even if it was missed here.

A row is written before the object is sent and goes when the node has acknowledged its deletion.
It therefore says "may have", which is what deletions need; sending a delete twice does no harm.
With it goes the version that the node has acknowledged: that one need not be told again after a
restart of this module.

The file is a journal, one JSON array a line: a write is one system call, a tenth of the CPU time
of an SQLite transaction, and there is one for each object that is sent.
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
from modules.common.storage import Trouble, temporary
from modules.edgecontroller.downstream.references import Item

#: Stands for every edge node in the rows of what all of them get (services, endpoints).
EVERY_NODE = "*"

#: Stands for the version of a list that a node has had, and to which something was sent since.
UNSURE = "-"

#: Lines beyond four for each row after which the file is written anew.
_SLACK = 10_000

#: node, type, namespace, name, uid (null: the row is gone), acknowledged version
_Line = tuple[str, str, str, str, str | None, str]

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(_Line).decode

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """What is known of an object on a node; `seen` is the version it has acknowledged, or ""."""

    uid: str
    seen: str = ""


class Ledger:
    """The rows in memory, and in a file that is only appended to.

    The file is not synced: it outlives this process, though maybe not a power cut; after one, a
    deletion made in the meantime can go untold. What is about to be sent is written by `commit`,
    before it is; acknowledgements with it or by `flush`: one that is lost costs a message that
    is sent again. While the disk is full the rows are kept in memory, and sending goes on: a
    deletion can go untold only if this process ends before there is room again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: defaultdict[str, dict[Item, Row]] = defaultdict(dict)
        self._count = 0
        self._unwritten: list[_Line] = []
        self._uncommitted = False
        #: None: what is in the file does not hold, it has to be written anew.
        self._file: int | None = None
        self._lines = 0
        self.trouble = Trouble(path, "what is sent is kept in memory alone")
        self._load()
        self._count = sum(map(len, self._rows.values()))
        self.flush()

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        self.flush()
        self._let_go()

    def uid(self, node: str, item: Item) -> str | None:
        """Return which object of that name a node may have; None if it has none."""
        row = self._row(node, item)
        return row and row.uid

    def seen(self, node: str, item: Item) -> str:
        """Return the version that a node has acknowledged; empty if none is known."""
        row = self._row(node, item)
        return row.seen if row else ""

    def nodes(self) -> list[str]:
        """Return the nodes that may have something."""
        return [node for node in self._rows if node != EVERY_NODE]

    def items(self, node: str) -> Mapping[Item, Row]:
        return self._rows.get(node, {})

    def tell(self, node: str, item: Item, uid: str) -> None:
        """Note that this very object is about to be sent; another of its name has another uid."""
        row = self._row(node, item)
        if row is None or row.uid != uid:
            self._set(node, item, Row(uid))
            self._uncommitted = True

    def doubt(self, node: str, item: Item) -> None:
        """Note that a node's list is not as acknowledged when what is about to be sent has been.

        Its version alone would not tell: what came and went leaves it as it was.
        """
        if self.seen(node, item) not in ("", UNSURE):
            self.acknowledge(node, item, UNSURE)
            self._uncommitted = True

    def commit(self) -> None:
        """Write what is noted of what is about to be sent."""
        if self._uncommitted and self._file is not None:
            self.flush()

    def acknowledge(self, node: str, item: Item, version: str) -> None:
        """Note that a node has this version of what it may have; a later `flush` writes it."""
        row = self._row(node, item)
        if row is not None and row.seen != version:
            self._set(node, item, Row(row.uid, version))

    def forget_seen(self, node: str) -> None:
        """Note that a node may have lost what it had: what is told it again is told in full."""
        for item, row in self.items(node).items():
            if row.seen:
                self._set(node, item, Row(row.uid))

    def remove(self, node: str, items: Iterable[Item]) -> None:
        """Note that a node no longer has these."""
        for item in items:
            if self._rows[node].pop(item, None) is not None:
                self._count -= 1
                self._unwritten.append((node, *item, None, ""))
        if not self._rows[node]:
            del self._rows[node]

    def flush(self) -> None:
        """Write what is not in the file yet; on a full disk, a later call does."""
        try:
            if self._file is None:
                self._rewrite()
            elif self._unwritten:
                self._append(self._file)
        except OSError as error:
            failure = temporary(error, self._path)
            if failure is None:
                raise
            self._let_go()  # its last line may be half a line
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

    def _let_go(self) -> None:
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
        """Read the file; what a power cut or a full disk has left in it ends the reading."""
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
            f"{self._path} is damaged in line {number} ({error}): kept as {aside}; deletions that "
            f"are noted from there on may go untold"
        )
        self._path.replace(aside)

    def _rewrite(self) -> None:
        """Write the rows alone, beside the file, and put that in its place."""
        lines = list(self._all_lines())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path, sync=False) as new:
            _write(new.fileno(), lines)
        self._let_go()
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

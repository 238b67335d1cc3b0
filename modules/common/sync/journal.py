"""The file of a record: a journal of its rows, one JSON array per line.

A write, which is needed for each object sent, is one system call and takes a tenth of the CPU time
of an SQLite transaction.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ipc.files import replacing
from modules.common.disk_failures import Trouble, temporary

#: (type, namespace, name)
Item = tuple[str, str, str]

#: The ending of the name of a damaged file, which is kept for the operator.
UNUSABLE: Final = ".unusable"

#: The file is compacted when it has more lines than four per row and this.
_SLACK: Final = 10_000

_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger(__name__)


#: The version of what was sent in another state after the node had acknowledged it; of a list, of
#: which a member was sent.
STALE: Final = "-"


class Row(NamedTuple):
    """An object that a node may have; `seen` is the version it has acknowledged, or ""."""

    uid: str
    seen: str = ""
    #: Whatever else was sent of it, for those who cannot ask the API for that.
    payload: Any = None
    #: Whether a second store is known to have had the row, too.
    in_second: bool = False
    #: The version that was acknowledged before that became unsure: the second store may say it yet.
    doubted: str = ""


class _Line(msgspec.Struct, array_like=True):
    """A row, or with the uid None the end of one."""

    node: str
    type: str
    namespace: str
    name: str
    uid: str | None
    seen: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    in_second: bool = False
    doubted: str = ""


_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(_Line).decode

Line = tuple[Any, ...]


def line(node: str, item: Item, row: Row | None) -> Line:
    """Return what is written for a row; None: the node has no such object any more."""
    if row is None:
        return (node, *item, None, "")
    if row.doubted:
        return (node, *item, *row)
    if row.in_second:
        return (node, *item, *row[:-1])
    rest = () if row.payload is None else (row.payload,)
    return (node, *item, row.uid, row.seen, *rest)


def peek(path: Path) -> dict[str, dict[Item, Row]]:
    """Return the rows of a journal that another process writes, by node; without payloads.

    Its last line may be half a line: what follows a line that cannot be read is left out. Raises
    OSError.
    """
    rows: dict[str, dict[Item, Row]] = {}
    with path.open("rb") as file:
        for data in file:
            try:
                read = _decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                break
            item = (read.type, read.namespace, read.name)
            if read.uid is None:
                rows.get(read.node, {}).pop(item, None)
            else:
                rows.setdefault(read.node, {})[item] = Row(read.uid, read.seen)
    return rows


class Journal:
    """An append-only file of rows.

    It is written without fsync: it survives a crash of this process, but maybe not a power cut,
    after which a deletion can be missed. While the disk is full, rows are kept in memory and
    sending goes on: a deletion is missed only if this process exits before there is room again.
    """

    def __init__(
        self,
        path: Path,
        rows: Callable[[], Iterable[tuple[str, Item, Row]]],
        decode: Callable[[msgspec.Raw], Any] | None = None,
    ) -> None:
        """Set up; `rows` returns all present rows, `decode` decodes a payload (MsgspecError)."""
        self._path = path
        self._rows = rows
        self._decode_payload = decode
        self._unwritten: list[Line] = []
        #: None if the file has to be written from scratch.
        self._file: int | None = None
        self._lines = 0
        self.trouble = Trouble(path, "what is sent is recorded in memory alone")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def add(self, node: str, item: Item, row: Row | None) -> None:
        """Append a row at the next flush."""
        self._unwritten.append(line(node, item, row))

    @property
    def is_written(self) -> bool:
        """Whether there is a file to append to."""
        return self._file is not None

    def flush(self, rows: int) -> None:
        """Write all rows that are not in the file yet; after a full disk, the next call does.

        `rows` is the number of present rows: a file with many more lines is compacted.
        """
        try:
            if self._file is None:
                self._rewrite()
            elif self._unwritten:
                self._append(self._file, rows)
        except OSError as error:
            failure = temporary(error, self._path)
            if failure is None:
                raise
            self.close()  # its last line may be half a line
            self.trouble.began(failure)
        else:
            self.trouble.ended()
        self._unwritten.clear()

    def load(self) -> Iterator[tuple[str, Item, Row | None]]:
        """Read the file, up to a line damaged by a power cut or a full disk."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for number, data in enumerate(file, 1):
                try:
                    read = _decode(data)
                    payload = self._payload(read)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._set_aside(number, error)
                    return
                rest = (read.seen, payload, read.in_second, read.doubted)
                row = None if read.uid is None else Row(read.uid, *rest)
                yield read.node, (read.type, read.namespace, read.name), row

    def _payload(self, read: _Line) -> Any:
        if self._decode_payload is None or isinstance(read.payload, msgspec.UnsetType):
            return None
        return self._decode_payload(read.payload)

    def _set_aside(self, number: int, error: Exception) -> None:
        aside = self._path.with_name(self._path.name + UNUSABLE)
        log.error(
            "%s is damaged in line %d (%s): kept as %s; deletions of objects recorded from there "
            "on may not be sent",
            self._path,
            number,
            error,
            aside,
        )
        self._path.replace(aside)

    def _append(self, file: int, rows: int) -> None:
        self._lines += len(self._unwritten)
        _write(file, self._unwritten)
        if self._lines > 4 * rows + _SLACK:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write the present rows to a new file, and replace the old one with it."""
        lines = [line(*each) for each in self._rows()]
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(self._path, sync=False) as new:
            _write(new.fileno(), lines)
        self.close()
        self._file = os.open(self._path, _APPEND)
        self._lines = len(lines)


def _write(file: int, lines: list[Line]) -> None:
    data = _encode_lines(lines)
    while data:
        data = data[os.write(file, data) :]

"""What edges have not acknowledged yet: from the controllers' records of what they were sent."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from modules.common.sync.journal import Item, Row, peek

#: The records whose rows have the acknowledged version; below the data directory.
_RECORDS: Final = (
    ("edgecontroller", "edgecontroller/told.jsonl"),
    ("devicecontroller", "devicecontroller/delivered.jsonl"),
)
#: The types of rows that are about the node itself, and were not sent.
_OF_NODE: Final = frozenset({"generation", "gone"})
#: Objects that a page shows.
_MOST: Final = 500

log = logging.getLogger(__name__)


class Unacknowledged:
    """Reads the records, each one again when it has changed."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._known: dict[Path, tuple[object, dict[str, list[Item]]]] = {}
        self._reading = asyncio.Lock()

    async def of(self, node: str) -> list[dict[str, Any]]:
        """Return the objects that were sent to a node, and that it has not acknowledged."""
        async with self._reading:
            return await asyncio.to_thread(self._of, node)

    def _of(self, node: str) -> list[dict[str, Any]]:
        found = []
        for controller, name in _RECORDS:
            for type_, namespace, object_name in self._open(self._data_dir / name).get(node, ()):
                found.append(
                    {
                        "controller": controller,
                        "type": type_,
                        "namespace": namespace,
                        "name": object_name,
                    }
                )
        return found[:_MOST]

    def _open(self, path: Path) -> dict[str, list[Item]]:
        """Return the items that each node has not acknowledged, by one record."""
        try:
            status = path.stat()
            tag = status.st_mtime_ns, status.st_size, status.st_ino
            known = self._known.get(path)
            if known is None or known[0] != tag:
                known = self._known[path] = tag, _unacknowledged(peek(path))
        except FileNotFoundError:
            return {}  # that controller has sent nothing yet
        except OSError as error:
            log.warning("cannot read %s: %s", path, error.strerror)
            return {}
        return known[1]


def _unacknowledged(rows: dict[str, dict[Item, Row]]) -> dict[str, list[Item]]:
    found = {
        node: sorted(
            item for item, row in items.items() if not row.seen and item[0] not in _OF_NODE
        )
        for node, items in rows.items()
    }
    return {node: items for node, items in found.items() if items}

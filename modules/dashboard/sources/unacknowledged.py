"""What edges have not acknowledged yet: from the controllers' records of what they were sent.

Edges of KubeEdge 1.1 acknowledge no device (v1alpha1): there the values that they report say
whether they have it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from modules.common.sync.journal import Item, Row, peek
from modules.common.sync.record import TYPES_OF_NODE
from modules.dashboard.sources.devices import Device

#: The records whose rows have the acknowledged version; below the data directory.
_RECORDS: Final = (
    ("edgecontroller", "edgecontroller/told.jsonl"),
    ("devicecontroller", "devicecontroller/delivered.jsonl"),
)
#: The record of devices of v1alpha1, and the type of its rows.
_OF_V1ALPHA1: Final = "devicecontroller/told.jsonl"
_DEVICE: Final = "device"
#: Objects that a page shows.
_MOST: Final = 500

log = logging.getLogger(__name__)


class Unacknowledged:
    """Reads the records, each one again when it has changed."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._known: dict[Path, tuple[object, dict[str, list[Item]]]] = {}
        self._reading = asyncio.Lock()

    async def of(self, node: str, devices: Iterable[Device]) -> list[dict[str, Any]]:
        """Return the objects that were sent to a node, and that it has not acknowledged.

        `devices` are those of the node.
        """
        async with self._reading:
            return await asyncio.to_thread(self._of, node, devices)

    def _of(self, node: str, devices: Iterable[Device]) -> list[dict[str, Any]]:
        found = [
            _row(controller, *item)
            for controller, name in _RECORDS
            for item in self._open(self._data_dir / name).get(node, ())
        ]
        found += self._of_v1alpha1(node, devices)
        return found[:_MOST]

    def _of_v1alpha1(self, node: str, devices: Iterable[Device]) -> Iterator[dict[str, Any]]:
        sent = {item[2] for item in self._open(self._data_dir / _OF_V1ALPHA1).get(node, ())}
        for device in devices:
            if device.version != "v1alpha1" or device.fault:
                continue
            why = unreported(device) if device.name in sent else "it has not been sent yet"
            if why:
                yield _row("devicecontroller", _DEVICE, device.namespace, device.name, why)

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


def unreported(device: Device) -> str:
    """Return which desired values a device does not report; empty if it reports them all."""
    return "; ".join(
        f"{twin.property}: {twin.desired} is desired, {twin.reported or 'nothing'} is reported"
        for twin in device.twins
        if twin.desired not in {"", twin.reported}
    )


def _row(controller: str, type_: str, namespace: str, name: str, why: str = "") -> dict[str, Any]:
    return {
        "controller": controller,
        "type": type_,
        "namespace": namespace,
        "name": name,
        "why": why,
    }


def _unacknowledged(rows: dict[str, dict[Item, Row]]) -> dict[str, list[Item]]:
    found = {
        node: sorted(
            item for item, row in items.items() if not row.seen and item[0] not in TYPES_OF_NODE
        )
        for node, items in rows.items()
    }
    return {node: items for node, items in found.items() if items}

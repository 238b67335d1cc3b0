"""Writing what devices report into `status.twins[].reported` of their objects.

In cloud/pkg/devicecontroller/controller/upstream.go this is a merge patch of the cached status.
Here the patch carries the resource version it was made for: so it cannot undo a desired value
that somebody sets at the same moment, which is in the same list.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import ipc
from modules.common.kube import (
    DEVICES,
    BadRequest,
    Conflict,
    Invalid,
    KubeClient,
    KubeError,
    NotFound,
)
from modules.devicecontroller.device import Object, keep_device, label, twins_of
from modules.devicecontroller.inventory import Inventory, Slot
from modules.devicecontroller.twin import Report
from modules.devicecontroller.workqueue import WorkQueue

Reports = dict[str, Report]
Done = Callable[[], Awaitable[None]]
Changes = dict[str, Object]
"""`reported` by property"""

_MAIN: Final = ""
_STATUS: Final = "status"

#: How often a patch is tried before a pause, each time with the object read anew.
_ATTEMPTS: Final = 4

log = logging.getLogger(__name__)


class StatusWriter:
    """Writes reports in their order for each device, several devices at a time.

    What a device reports while the API is slow or away is written together afterwards.
    """

    def __init__(self, client: KubeClient, inventory: Inventory) -> None:
        self._client = client
        self._inventory = inventory
        self._pending: dict[Slot, list[tuple[Reports, Done]]] = {}
        self._latest: dict[Slot, Reports] = {}
        self._lost: dict[Slot, dict[str, Object]] = {}
        self._subresource = _MAIN
        self._queue: WorkQueue[Slot] = WorkQueue(self._handle, (KubeError, ipc.ChannelError))

    def write(self, slot: Slot, reports: Reports, done: Done) -> None:
        """Write reports soon, then await `done()`, which may raise a ChannelError to be retried.

        Reports of a device that is not there, or has no such property, are dropped, as in Go.
        """
        self._pending.setdefault(slot, []).append((reports, done))
        self._queue.add(slot)

    def restore(self, slot: Slot, lost: dict[str, Object]) -> None:
        """Write `reported` of properties back, unless they have it again by then."""
        self._lost.setdefault(slot, {}).update(lost)
        self._queue.add(slot)

    async def run(self, workers: int) -> None:
        """Write until cancelled."""
        await self._queue.run(workers)

    def stop(self) -> None:
        self._queue.stop()

    async def _handle(self, slot: Slot) -> None:
        batch = list(self._pending.get(slot, ()))
        device = self._inventory.at(slot)
        if device:
            changes = self._restorable(slot, device)
            changes |= self._news(slot, device, [reports for reports, _ in batch])
            if changes:
                await self._write(device, changes)
        else:
            self._latest.pop(slot, None)
            if any(reports for reports, _ in batch):
                log.info(f"node {slot.node} reports on device {slot.name}, which it does not have")
        self._lost.pop(slot, None)
        for item in batch:
            await item[1]()
            self._pending[slot].remove(item)
        if not self._pending.get(slot):
            self._pending.pop(slot, None)

    def _restorable(self, slot: Slot, device: Object) -> Changes:
        lost = self._lost.get(slot, {})
        without = (twin["propertyName"] for twin in twins_of(device) if "reported" not in twin)
        return {name: lost[name] for name in without if name in lost}

    def _news(self, slot: Slot, device: Object, batch: list[Reports]) -> Changes:
        """Take the last report of each property, of those that the device has."""
        known = {twin["propertyName"] for twin in twins_of(device)}
        latest = self._latest.setdefault(slot, {})
        changes: Changes = {}
        for reports in batch:
            for name, report in reports.items():
                if name in known and not _outdated(report, latest.get(name)):
                    latest[name] = report
                    changes[name] = report.as_reported()
        return changes

    async def _write(self, device: Object, changes: Changes) -> None:
        try:
            await self._patch(device, changes)
        except NotFound:
            log.info(f"device {label(device)} was deleted before its reported values were written")
        except (Invalid, BadRequest) as error:
            log.warning(f"reported values of device {label(device)} are dropped: {error}")

    async def _patch(self, device: Object, changes: Changes) -> None:
        for _ in range(_ATTEMPTS - 1):
            try:
                written = await self._send_patch(device, changes)
            except Conflict:
                device = await self._read(device)
            except NotFound:
                # No such device, or no such subresource: reading it tells them apart.
                device = await self._read(device)
                self._switch(_MAIN)
            else:
                if self._subresource == _STATUS or _has(written, changes):
                    return
                device = written
                self._switch(_STATUS)
        await self._send_patch(device, changes)

    def _switch(self, subresource: str) -> None:
        """Follow the CRD: with a status subresource, a patch of the object leaves status alone.

        The CRDs of KubeEdge have none; somebody's own may.
        """
        if subresource != self._subresource:
            self._subresource = subresource
            log.info(
                f"device status is written by way of {subresource or 'the object'} from now on"
            )

    async def _send_patch(self, device: Object, changes: Changes) -> Object:
        metadata = device["metadata"]
        twins = [
            twin | {"reported": changes[twin["propertyName"]]}
            if twin["propertyName"] in changes
            else twin
            for twin in twins_of(device)
        ]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "status": {"twins": twins},
        }
        written = await self._client.patch(
            DEVICES,
            metadata["name"],
            patch,
            metadata["namespace"],
            subresource=self._subresource,
        )
        return keep_device(written)

    async def _read(self, device: Object) -> Object:
        metadata = device["metadata"]
        return keep_device(await self._client.get(DEVICES, metadata["name"], metadata["namespace"]))


def _outdated(report: Report, latest: Report | None) -> bool:
    """Whether a report is older than one that was handled.

    An edge of v1.1 repeats whatever was not confirmed (edge/pkg/devicetwin/dtmanager,
    `checkConfirm`). Its clock may be set back, and its count begins anew with a device that is
    added again: a report is old only if it is by both.
    """
    if latest is None:
        return False
    return report.edge_version < latest.edge_version and (report.timestamp or 0) <= (
        latest.timestamp or 0
    )


def _has(device: Object, changes: Changes) -> bool:
    """Whether a device has the reported values of those of its properties that changed."""
    return all(
        twin.get("reported") == changes[twin["propertyName"]]
        for twin in twins_of(device)
        if twin["propertyName"] in changes
    )

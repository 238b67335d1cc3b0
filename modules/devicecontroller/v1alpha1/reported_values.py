"""Writing reported values into `status.twins[].reported` of Devices.

In cloud/pkg/devicecontroller/controller/upstream.go this is a merge patch of the cached status.
Here the patch has the resourceVersion that it was made for, so it cannot overwrite a desired value
that somebody sets at the same moment in the same list.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container

from modules.common.kube import (
    DEVICES,
    BadRequest,
    Invalid,
    KubeError,
    NotFound,
    Object,
    SetAside,
    Subject,
)
from modules.common.log_limit import LogLimit
from modules.common.replicas.report_fence import HeldElsewhere
from modules.devicecontroller.status.conditions import label
from modules.devicecontroller.status.report_queue import Origin, ReportQueue
from modules.devicecontroller.status.status_patch import (
    StatusPatcher,
)
from modules.devicecontroller.v1alpha1.device import twins_of
from modules.devicecontroller.v1alpha1.sync.inventory import (
    DeviceSlot,
    Inventory,
)
from modules.devicecontroller.v1alpha1.twin import TwinReport

Reports = dict[str, TwinReport]
Changes = dict[str, Object | None]
"""the fields to set in a twin, by property; None: the twin is removed"""

log = logging.getLogger(__name__)


class StatusWriter:
    """Writes what is reported of devices, and what is applied to them; `queue` does the work."""

    def __init__(self, status: StatusPatcher, inventory: Inventory, set_aside: SetAside) -> None:
        self._set_aside = set_aside
        self._log = LogLimit(log)
        self._status = status
        self._inventory = inventory
        self._latest: dict[DeviceSlot, Reports] = {}
        self._lost: dict[DeviceSlot, dict[str, Object]] = {}
        self._applied: dict[DeviceSlot, dict[str, Object | None]] = {}
        self._reports: ReportQueue[DeviceSlot, Reports] = ReportQueue(self._handle, self._put_aside)
        self.queue = self._reports.queue

    def write(self, slot: DeviceSlot, reports: Reports, origin: Origin) -> None:
        """Enqueue reports. As in Go, those of an unknown device or property are dropped."""
        self._reports.add(slot, reports, origin)

    def drop(self, node: str) -> None:
        """Drop what a node has reported and is not written."""
        self._reports.drop(node)

    def restore(self, slot: DeviceSlot, lost: dict[str, Object]) -> None:
        """Write reported values back that somebody has removed, unless there are new ones."""
        self._lost.setdefault(slot, {}).update(lost)
        self.queue.add(slot)

    def adopt(self, slot: DeviceSlot, applied: dict[str, Object | None]) -> None:
        """Write desired values of an applied manifest; with none, those that seeded the device."""
        self._applied.setdefault(slot, {}).update(applied)
        self.queue.add(slot)

    def forget(self, slot: DeviceSlot) -> None:
        """Forget a device that has been deleted, or has moved to another node."""
        for known in (self._latest, self._lost, self._applied):
            known.pop(slot, None)

    def forget_nodes(self, nodes: Container[str]) -> None:
        """Forget what nodes have reported that have gone for long."""
        for slot in [slot for slot in self._latest if slot.node in nodes]:
            del self._latest[slot]

    def _put_aside(self, slot: DeviceSlot, error: Exception) -> None:
        device = self._inventory.at(slot) or {"metadata": {"name": slot.name}}
        self._set_aside.put(Subject.of(DEVICES, device), error)

    async def _handle(self, slot: DeviceSlot, batch: list[Reports]) -> None:
        device = self._inventory.at(slot)
        if device:
            await self._update(slot, device, batch)
            return
        self.forget(slot)
        if any(batch):
            text = f"node {slot.node}: report about unknown device {slot.name} dropped"
            self._log.put(slot.node, logging.INFO, text)

    async def _update(self, slot: DeviceSlot, device: Object, batch: list[Reports]) -> None:
        """Write all pending changes of a device; on failure they are kept for the retry."""
        lost, applied = self._lost.pop(slot, {}), self._applied.pop(slot, None)
        try:
            reported = _restorable(lost, device) | self._news(slot, device, batch)
            try:
                if reported or applied is not None:
                    node = slot.node if reported else ""
                    await self._write(node, device, _with_desired(reported, applied))
            except HeldElsewhere:
                if applied is not None:
                    await self._write("", device, _with_desired({}, applied))
                raise
        except (KubeError, asyncio.CancelledError):
            self._keep(slot, device, lost, applied)
            raise

    def _keep(
        self,
        slot: DeviceSlot,
        device: Object,
        lost: dict[str, Object],
        applied: dict[str, Object | None] | None,
    ) -> None:
        """Keep what could not be written for the retry, unless its device is gone by now."""
        present = self._inventory.at(slot)
        if present is None or present["metadata"].get("uid") != device["metadata"].get("uid"):
            return
        if lost:
            self._lost[slot] = lost | self._lost.get(slot, {})
        if applied is not None:
            self._applied[slot] = applied | self._applied.get(slot, {})

    def _news(self, slot: DeviceSlot, device: Object, batch: list[Reports]) -> Changes:
        """Return the latest report of each property that the device has."""
        known = {twin["propertyName"] for twin in twins_of(device)}
        latest = self._latest.setdefault(slot, {})
        changes: Changes = {}
        for reports in batch:
            for name, report in reports.items():
                if name in known and not _outdated(report, latest.get(name)):
                    latest[name] = report
                    changes[name] = {"reported": report.as_reported()}
        return changes

    async def _write(self, node: str, device: Object, changes: Changes) -> None:
        """Write changes, some of which a node has reported unless it is empty."""
        try:
            await self._status.patch(
                device,
                lambda found: {"twins": _changed(found, changes)},
                lambda found: _has(found, changes),
                node=node,
            )
        except NotFound:
            log.info("device %s: deleted before its reported values were written", label(device))
        except (Invalid, BadRequest) as error:
            # Such as an object too large for etcd; the edge would resend the report for ever.
            self._set_aside.put(self._status.subject(device), error)
        else:
            self._set_aside.end(self._status.subject(device), used=True)


def _outdated(report: TwinReport, latest: TwinReport | None) -> bool:
    """Whether a report is older than one that was handled.

    An edge of v1.1 resends what was not acknowledged (edge/pkg/devicetwin/dtmanager,
    `checkConfirm`). Its clock may be set back, and its version restarts when a device is added
    again; so a report is outdated only if both are older.
    """
    if latest is None:
        return False
    return report.edge_version < latest.edge_version and (report.timestamp or 0) <= (
        latest.timestamp or 0
    )


def _restorable(lost: dict[str, Object], device: Object) -> Changes:
    without = (twin["propertyName"] for twin in twins_of(device) if "reported" not in twin)
    return {name: {"reported": lost[name]} for name in without if name in lost}


def _with_desired(reported: Changes, applied: dict[str, Object | None] | None) -> Changes:
    """Return what is reported with the desired values that are applied."""
    changes = dict(reported)
    for name, desired in (applied or {}).items():
        changes[name] = (
            None if desired is None else {**(changes.get(name) or {}), "desired": desired}
        )
    return changes


def _changed(device: Object, changes: Changes) -> list[Object]:
    """Return a device's twins with the changes applied."""
    twins = {twin["propertyName"]: twin for twin in twins_of(device)}
    for name, change in changes.items():
        if change is None:
            twins.pop(name, None)
        elif name in twins or "desired" in change:
            twins[name] = {"propertyName": name, **twins.get(name, {}), **change}
            if not twins[name].get("desired"):
                twins[name].pop("desired", None)
    return list(twins.values())


def _has(device: Object, changes: Changes) -> bool:
    """Whether the twins of a written device have the changes."""
    return _changed(device, changes) == twins_of(device) and not device.get("seeded")

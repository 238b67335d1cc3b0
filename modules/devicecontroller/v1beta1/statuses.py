"""Writing what devices have reported: into their DeviceStatus, or the status of the Device.

The latter with CRDs up to KubeEdge 1.22, which have no DeviceStatus.

As in cloud/pkg/devicecontroller/controller/upstream.go, but the first report of a property is kept,
and a patch has the resourceVersion that it was made for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from modules.common.kube import (
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    BadRequest,
    Invalid,
    Key,
    KubeClient,
    NotFound,
    Object,
    SetAside,
    Subject,
)
from modules.common.replicas.report_fence import ReportFence
from modules.devicecontroller.compressed import decompressed
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edge_messages import version_number
from modules.devicecontroller.status.report_queue import Origin, ReportQueue
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.v1beta1.device_statuses import DeviceStatuses
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.messages import State, TwinReport, Version
from modules.devicecontroller.v1beta1.objects import (
    keep_status,
    keep_written,
    node_of,
    properties_of,
    uid_of,
)

Reports = dict[str, TwinReport] | State

log = logging.getLogger(__name__)


class _Change(NamedTuple):
    """What is written: fields of the status, and of twins by property."""

    fields: dict[str, str]
    twins: dict[str, dict[str, Object]]

    def __bool__(self) -> bool:
        return bool(self.fields or self.twins)


class StatusWriter:
    """Writes what is reported of devices; `queue` does the work.

    A device that is added to `queue` by itself has its DeviceStatus made, or deleted.
    """

    def __init__(
        self,
        client: KubeClient,
        inventory: Inventory,
        set_aside: SetAside,
        duties: Duties,
        *,
        namespace: str | None,
        has_statuses: Callable[[], bool],
        fence: ReportFence | None = None,
    ) -> None:
        """Set up, as one of several replicas with a fence.

        `has_statuses` says whether the API server serves DeviceStatus.
        """
        self._inventory = inventory
        self._set_aside = set_aside
        self._status_patcher = StatusPatcher(
            client, DEVICESTATUSES, keep_status, subresource="", fence=fence
        )
        self._device_patcher = StatusPatcher(
            client, DEVICES_V1BETA1, keep_written, subresource="", fence=fence
        )
        self._latest: dict[Key, dict[str, Version]] = {}
        #: The Devices that were written last, for which the watch may have no event yet.
        self._written: dict[Key, Object] = {}
        self._reports: ReportQueue[Key, Reports] = ReportQueue(self._handle, self._put_aside)
        self.queue = self._reports.queue
        self.statuses = DeviceStatuses(
            client,
            inventory,
            duties,
            namespace=namespace,
            are_served=has_statuses,
            enqueue=self.queue.add,
        )

    def write(self, device: Key, reports: Reports, origin: Origin) -> None:
        """Enqueue reports. As in Go, those of a property that the device lacks are dropped."""
        self._reports.add(device, reports, origin)

    def drop(self, node: str) -> None:
        """Drop what a node has reported and is not written, and what is known of its devices."""
        self._reports.drop(node)
        for device in self._inventory.on_node(node):
            self.statuses.forget(device)

    def forget(self, device: Key) -> None:
        """Forget a device that has been deleted, or has moved to another node, or went with it."""
        self._latest.pop(device, None)
        self._written.pop(device, None)
        self.statuses.forget(device)

    def _put_aside(self, key: Key, error: Exception) -> None:
        device = self._inventory.devices.get(key)
        named = device or {"metadata": {"namespace": key[0], "name": key[1]}}
        self._set_aside.put(Subject.of(DEVICES_V1BETA1, named), error)

    async def _handle(self, key: Key, batch: list[Reports]) -> None:
        device = self._inventory.devices.get(key)
        if device:
            await self._update(key, decompressed(device), batch)
        elif self.statuses.are_served():
            await self.statuses.delete_without_device(key)

    async def _update(self, key: Key, device: Object, batch: list[Reports]) -> None:
        latest = dict(self._latest.get(key, {}))
        properties = properties_of(device)
        change = _merge(batch, properties, latest)
        try:
            if self.statuses.are_served():
                await self._write_status(key, device, change, properties)
            elif change:
                newest = self._newest(key, device)
                self._written[key] = await _patch(
                    self._device_patcher, node_of(device), newest, change, properties
                )
        except NotFound:
            self._written.pop(key, None)
            self.statuses.forget(key)
            if self.statuses.are_served() and key in self._inventory.devices:
                raise  # the DeviceStatus has been deleted: it is made anew
            log.info("device %s/%s: deleted before its reports were written", *key)
        except (Invalid, BadRequest) as error:
            # Such as an object too large for etcd; the edge would send the report for ever.
            self._set_aside.put(self._device_patcher.subject(device), error)
        else:
            self._set_aside.end(self._device_patcher.subject(device), used=True)
        self._latest[key] = latest

    async def _write_status(
        self, key: Key, device: Object, change: _Change, properties: set[str]
    ) -> None:
        status = await self.statuses.of(key, device)
        if change:
            written = await _patch(
                self._status_patcher, node_of(device), status, change, properties
            )
            self.statuses.note(key, written)

    def _newest(self, key: Key, device: Object) -> Object:
        """Return what was written last, if that is newer than what the watch has shown."""
        written = self._written.get(key)
        if written and uid_of(written) == uid_of(device):
            return max(device, written, key=version_number)
        return device


async def _patch(
    patcher: StatusPatcher, node: str, obj: Object, change: _Change, properties: set[str]
) -> Object:
    return await patcher.patch(
        obj,
        lambda found: _status(found, change, properties),
        lambda found: _has(found, change, properties),
        node=node,
    )


def _merge(batch: list[Reports], properties: set[str], latest: dict[str, Version]) -> _Change:
    """Return what a batch of reports changes, the last one of each field; update `latest`."""
    change = _Change({}, {})
    for reports in batch:
        if isinstance(reports, State):
            change.fields.update(reports.fields)
            continue
        for name, report in reports.items():
            before = latest.get(name)
            if name not in properties:
                continue
            if report.version:
                if before and report.version.is_older(before):
                    continue
                latest[name] = report.version
            change.twins.setdefault(name, {}).update(report.twin)
    return change


def _status(obj: Object, change: _Change, properties: set[str]) -> Object:
    """Return the fields of a status to write; twins of properties that are gone are left out."""
    status: Object = dict(change.fields)
    if change.twins:
        present = (obj.get("status") or {}).get("twins") or []
        twins = {
            twin["propertyName"]: twin for twin in present if twin.get("propertyName") in properties
        }
        for name, fields in change.twins.items():
            twins[name] = {"propertyName": name, **twins.get(name, {}), **fields}
        status["twins"] = list(twins.values())
    return status


def _has(obj: Object, change: _Change, properties: set[str]) -> bool:
    """Whether a written object has the changes."""
    written = obj.get("status") or {}
    wanted = _status(obj, change, properties)
    return all(written.get(name) == value for name, value in wanted.items())

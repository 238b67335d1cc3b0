"""Writing what devices have reported: into their DeviceStatus, or the status of the Device.

The latter with CRDs up to KubeEdge 1.22, which have no DeviceStatus.

As in cloud/pkg/devicecontroller/controller/upstream.go, but the first report of a property is kept,
and a patch has the resourceVersion that it was made for.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

from modules.common.kube import (
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    AlreadyExists,
    BadRequest,
    Conflict,
    Invalid,
    Key,
    KubeClient,
    NotFound,
    Object,
    SetAside,
    Subject,
)
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edge_messages import version_number
from modules.devicecontroller.status.report_queue import Origin, ReportQueue
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.messages import Report, State, Version
from modules.devicecontroller.v1beta1.objects import (
    keep_status,
    keep_written,
    properties_of,
    uid_of,
)

Reports = dict[str, Report] | State

log = logging.getLogger(__name__)


class _Change(NamedTuple):
    """What is written: fields of the status, and of twins by property."""

    fields: dict[str, str]
    twins: dict[str, dict[str, Object]]


class StatusWriter:
    """Writes what is reported of devices, and makes their DeviceStatus; `queue` does the work."""

    def __init__(
        self,
        client: KubeClient,
        inventory: Inventory,
        set_aside: SetAside,
        has_statuses: Callable[[], bool],
        duties: Duties,
    ) -> None:
        """Set up; `has_statuses` says whether the API server serves DeviceStatus."""
        self._duties = duties
        self._client = client
        self._inventory = inventory
        self._set_aside = set_aside
        self._has_statuses = has_statuses
        self._statuses = StatusPatcher(client, DEVICESTATUSES, keep_status, subresource="")
        self._devices = StatusPatcher(client, DEVICES_V1BETA1, keep_written, subresource="")
        self._latest: dict[Key, dict[str, Version]] = {}
        #: What was written last, for which the watch may have no event yet.
        self._written: dict[Key, Object] = {}
        self._reports: ReportQueue[Key, Reports] = ReportQueue(self._handle, self._put_aside)
        self.queue = self._reports.queue

    def write(self, device: Key, reports: Reports, origin: Origin) -> None:
        """Enqueue reports. As in Go, those of a property that the device lacks are dropped."""
        self._reports.add(device, reports, origin)

    def drop(self, node: str) -> None:
        """Drop what a node has reported and is not written."""
        self._reports.drop(node)

    def ensure(self, device: Key) -> None:
        """Have the DeviceStatus of a device made or deleted, if it is not as it should be."""
        if not self._duties.leads:
            return
        status = self._inventory.statuses.get(device)
        wanted = self._inventory.devices.get(device)
        if self._has_statuses() and (
            status is None or wanted is None or _owner_of(status) not in ("", uid_of(wanted))
        ):
            self.queue.add(device)

    def forget(self, device: Key) -> None:
        """Forget a device that has been deleted, or has moved to another node."""
        self._latest.pop(device, None)
        self._written.pop(device, None)

    def _put_aside(self, key: Key, error: Exception) -> None:
        device = self._inventory.devices.get(key)
        named = device or {"metadata": {"namespace": key[0], "name": key[1]}}
        self._set_aside.put(Subject.of(DEVICES_V1BETA1, named), error)

    async def _handle(self, key: Key, batch: list[Reports]) -> None:
        device = self._inventory.devices.get(key)
        if device:
            await self._update(key, device, batch)
        elif status := self._inventory.statuses.get(key):
            await self._delete_without_device(key, status)

    async def _update(self, key: Key, device: Object, batch: list[Reports]) -> None:
        latest = dict(self._latest.get(key, {}))
        change = _merge(batch, properties_of(device), latest)
        try:
            if self._has_statuses():
                status = await self._status_of(key, device)
                patcher = self._statuses
            else:
                status, patcher = device, self._devices
            if change.fields or change.twins:
                await self._patch(key, device, patcher, self._newest(key, status), change)
        except NotFound:
            self._written.pop(key, None)
            if self._has_statuses() and key in self._inventory.devices:
                raise  # the DeviceStatus has been deleted: it is made anew
            log.info("device %s/%s: deleted before its reports were written", *key)
        except (Invalid, BadRequest) as error:
            # Such as an object too large for etcd; the edge would send the report for ever.
            self._set_aside.put(self._devices.subject(device), error)
        else:
            self._set_aside.end(self._devices.subject(device), used=True)
        self._latest[key] = latest

    async def _patch(
        self, key: Key, device: Object, patcher: StatusPatcher, status: Object, change: _Change
    ) -> None:
        properties = properties_of(device)
        self._written[key] = await patcher.patch(
            status,
            lambda found: _status(found, change, properties),
            lambda found: _has(found, change, properties),
        )

    def _newest(self, key: Key, status: Object) -> Object:
        """Return what was written last, if that is newer than what the watch has shown."""
        written = self._written.get(key)
        if written and uid_of(written) == uid_of(status):
            return max(status, written, key=version_number)
        return status

    async def _status_of(self, key: Key, device: Object) -> Object:
        """Return the DeviceStatus of a device; it is made if there is none."""
        found = self._inventory.statuses.get(key)
        if found is None or _owner_of(found) not in ("", uid_of(device)):
            found = self._written.get(key) or await self._make(key, device)
        if _owner_of(found) not in ("", uid_of(device)):
            await self._delete(key, found)
            found = await self._make(key, device)
        return found

    async def _make(self, key: Key, device: Object) -> Object:
        owner = {
            "apiVersion": DEVICES_V1BETA1.api_version,
            "kind": DEVICES_V1BETA1.kind,
            "name": key[1],
            "uid": uid_of(device),
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {"name": key[1], "namespace": key[0], "ownerReferences": [owner]}
        made = {"metadata": metadata, "spec": {}, "status": {}}
        try:
            found = keep_status(await self._client.create(DEVICESTATUSES, made, key[0]))
        except AlreadyExists:
            found = keep_status(await self._client.get(DEVICESTATUSES, key[1], key[0]))
        self._written[key] = found
        return found

    async def _delete_without_device(self, key: Key, status: Object) -> None:
        """Delete the DeviceStatus of a device that is gone, where no garbage collector does it."""
        if not (owner := _owner_of(status)):
            return
        with contextlib.suppress(NotFound):
            device = await self._client.get(DEVICES_V1BETA1, key[1], key[0])
            if device["metadata"].get("uid") == owner:
                return
        await self._delete(key, status)

    async def _delete(self, key: Key, status: Object) -> None:
        self._written.pop(key, None)
        with contextlib.suppress(NotFound, Conflict):
            await self._client.delete(DEVICESTATUSES, key[1], key[0], uid=uid_of(status))


def _owner_of(status: Object) -> str:
    """Return the uid of the Device that a DeviceStatus belongs to; empty if it names none."""
    owners = status["metadata"].get("ownerReferences") or []
    uids = (each.get("uid") for each in owners if each.get("kind") == DEVICES_V1BETA1.kind)
    return next(filter(None, uids), "")


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

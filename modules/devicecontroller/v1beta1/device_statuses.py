"""The DeviceStatus objects of devices: made with the device, deleted with it, read when needed.

They are not watched. Nearly all of their changes are written here, so that a watch would show each
of them a second time, and keep those of all devices in memory. What others change is read anew when
a write meets a conflict; what others delete is made anew with the next report, or when all are
compared with the devices.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from modules.common.kube import (
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    AlreadyExists,
    BadObject,
    Conflict,
    Key,
    KubeClient,
    KubeError,
    NotFound,
    Object,
    key_of,
    retry_listing,
)
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import keep_status, uid_of

#: Seconds between two comparisons of all, and until the next one after it has failed.
_PERIOD: Final = 600.0
_AGAIN: Final = 60.0

log = logging.getLogger(__name__)


class DeviceStatuses:
    """What there is of them: those that were read or written last, and which are missing."""

    def __init__(
        self,
        client: KubeClient,
        inventory: Inventory,
        duties: Duties,
        *,
        namespace: str | None,
        are_served: Callable[[], bool],
        enqueue: Callable[[Key], None],
    ) -> None:
        """Set up; `are_served` says whether the API server has them (with CRDs from 1.23 on).

        `enqueue` is called with the devices whose DeviceStatus is to be made or deleted, by `of`
        and `delete_without_device`.
        """
        self._client = client
        self._inventory = inventory
        self._duties = duties
        self._namespace = namespace
        self._enqueue = enqueue
        self.are_served = are_served
        self._last: dict[Key, Object] = {}
        self._due = asyncio.Event()
        self._has_begun = False

    async def run(self) -> None:
        """Compare all with the devices, at once and now and then, until cancelled."""
        while True:
            pause = _PERIOD
            if self.are_served() and self._duties.leads:
                try:
                    await retry_listing(self._compare, self._client.health)
                except KubeError as error:
                    log.warning("which DeviceStatuses there are is not known: %s", error)
                    pause = _AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()
            self._due.clear()

    def compare_soon(self) -> None:
        """Compare all with the devices now."""
        self._due.set()

    def ensure(self, device: Key) -> None:
        """Have the DeviceStatus of a device that has come or gone made or deleted.

        Those of the devices of the start are compared all at once.
        """
        if self._has_begun and self._duties.leads and self.are_served():
            self._enqueue(device)

    async def of(self, key: Key, device: Object) -> Object:
        """Return the DeviceStatus of a device as it is known; it is made if there is none."""
        found = self._last.get(key) or await self._read(key)
        if found and not _is_of(found, device):
            await self._delete(key, found)
            found = None
        return found or await self._make(key, device)

    def note(self, device: Key, status: Object) -> None:
        """Remember what was written."""
        self._last[device] = status

    def forget(self, device: Key) -> None:
        """Forget what is known of a device, and read it when it is needed again."""
        self._last.pop(device, None)

    async def delete_without_device(self, key: Key) -> None:
        """Delete the DeviceStatus of a device that is gone, where no garbage collector does it."""
        status = await self._read(key)
        if not status or not (owner := _owner_of(status)):
            return
        with suppress(NotFound):
            device = await self._client.get(DEVICES_V1BETA1, key[1], key[0])
            if device["metadata"].get("uid") == owner:
                return  # it is set aside
        await self._delete(key, status)

    async def _compare(self) -> None:
        devices = self._inventory.devices
        missing = set(devices)
        self._has_begun = True
        async for page in self._client.pages(DEVICESTATUSES, self._namespace):
            for item in page.items:
                try:
                    status = keep_status(item)
                except BadObject:
                    continue  # the device is set aside when it is looked for
                key = key_of(status)
                missing.discard(key)
                device = devices.get(key)
                if device is None or not _is_of(status, device):
                    self._look_at(key)
        for key in missing:
            self._look_at(key)

    def _look_at(self, key: Key) -> None:
        self.forget(key)  # it may be that of before
        self._enqueue(key)

    async def _read(self, key: Key) -> Object | None:
        try:
            found = await self._client.get(DEVICESTATUSES, key[1], key[0])
        except NotFound:
            return None
        status = keep_status(found)
        if key in self._inventory.devices:
            self._last[key] = status
        return status

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
            found = await self._client.create(DEVICESTATUSES, made, key[0])
        except AlreadyExists:  # another replica has made it, or it is that of a former device
            return await self.of(key, device)
        status = self._last[key] = keep_status(found)
        return status

    async def _delete(self, key: Key, status: Object) -> None:
        self.forget(key)
        with suppress(NotFound, Conflict):
            await self._client.delete(DEVICESTATUSES, key[1], key[0], uid=uid_of(status))


def _is_of(status: Object, device: Object) -> bool:
    """Whether a DeviceStatus is that of a device, and not of a former one of its name."""
    return _owner_of(status) in ("", uid_of(device))


def _owner_of(status: Object) -> str:
    """Return the uid of the Device that a DeviceStatus belongs to; empty if it names none."""
    owners = status["metadata"].get("ownerReferences") or []
    uids = (each.get("uid") for each in owners if each.get("kind") == DEVICES_V1BETA1.kind)
    return next(filter(None, uids), "")

"""Patching the status of Devices, whether or not their CRD has a status subresource."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from modules.common.kube import DEVICES, Conflict, KubeClient, NotFound, Object, Subject, reference
from modules.devicecontroller.v1alpha1.device import keep_device, label

_MAIN: Final = ""
_STATUS: Final = "status"

#: How often a patch is tried before a pause, each time with the object read anew.
_ATTEMPTS: Final = 4

log = logging.getLogger(__name__)


def status_of(device: Object) -> Subject:
    """Name what is set aside where the API server does not take a device's status."""
    name = f"the status of device {label(device)}"
    return Subject(DEVICES.plural, name, reference(DEVICES, device), "its status is set aside")


class DeviceStatus:
    """Knows which way a status is written: the CRDs of KubeEdge have no subresource for it.

    With one, a patch of the object leaves status alone and says nothing; without, there is no
    such path.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._subresource = _STATUS

    async def patch(
        self,
        device: Object,
        change: Callable[[Object], Object],
        has_it: Callable[[Object], bool],
        keep: Callable[[Object], Object] = keep_device,
    ) -> None:
        """Write the status that `change` makes for a device, which may be called several times.

        `keep` reduces what the API answers to what `change` and `has_it` are called with.
        The patch is for the very version that `change` has seen. Raises NotFound if the device
        is gone, and any other KubeError as it comes.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                written = keep(await self._send(device, change(device)))
            except Conflict:
                device = keep(await self._read(device))
            except NotFound:
                # No such device, or no such subresource: reading it tells them apart.
                device = keep(await self._read(device))
                self._switch(_MAIN)
            else:
                if self._subresource == _STATUS or has_it(written):
                    return
                device = written
                self._switch(_STATUS)
        await self._send(device, change(device))

    def _switch(self, subresource: str) -> None:
        if subresource != self._subresource:
            self._subresource = subresource
            log.info(
                f"device status is written by way of {subresource or 'the object'} from now on"
            )

    async def _send(self, device: Object, status: Object) -> Object:
        metadata = device["metadata"]
        patch = {"metadata": {"resourceVersion": metadata.get("resourceVersion")}, "status": status}
        return await self._client.patch(
            DEVICES,
            metadata["name"],
            patch,
            metadata["namespace"],
            subresource=self._subresource,
        )

    async def _read(self, device: Object) -> Object:
        metadata = device["metadata"]
        return await self._client.get(DEVICES, metadata["name"], metadata["namespace"])

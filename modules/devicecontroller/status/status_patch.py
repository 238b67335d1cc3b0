"""Patching the status of Devices, whether or not their CRD has a status subresource."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from modules.common.kube import Conflict, KubeClient, NotFound, Object, Resource, Subject, reference
from modules.common.replicas.report_fence import ReportFence, target_of
from modules.devicecontroller.status.conditions import label

_MAIN: Final = ""
_STATUS: Final = "status"

#: Attempts at a patch before a backoff, each with the object read again.
_ATTEMPTS: Final = 4

log = logging.getLogger(__name__)


class StatusPatcher:
    """Patches the status by way of the subresource, or of the object as in KubeEdge's own CRDs.

    With a subresource, a patch of the object silently ignores the status; without one, its path
    does not exist.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        keep: Callable[[Object], Object],
        *,
        subresource: str = _STATUS,
        fence: ReportFence | None = None,
    ) -> None:
        """Set up; `keep` reduces an object of the API to what the callers of `patch` see.

        `subresource` is what is tried first. One of several replicas has a `fence` for reports.
        """
        self.resource = resource
        self._fence = fence
        self._keep = keep
        self._client = client
        self._subresource = subresource

    async def patch(
        self,
        device: Object,
        change: Callable[[Object], Object],
        has_it: Callable[[Object], bool],
        keep: Callable[[Object], Object] | None = None,
        *,
        node: str = "",
    ) -> Object:
        """Write the status that `change` returns for a device; it may be called several times.

        Returns the written device.

        `has_it` says whether a written device has the change. Both get objects of the API reduced
        by `keep`, by default the one of the set-up. The patch names the resourceVersion that
        `change` has seen. Raises NotFound if the device was deleted, and any other KubeError of
        the API.

        `node` is the one whose edge has reported the change, if one has; raises HeldElsewhere if it
        is another replica's.
        """
        keep = keep or self._keep
        for _ in range(_ATTEMPTS - 1):
            try:
                written = keep(await self._send(device, change(device), node))
            except Conflict:
                device = keep(await self._read(device))
            except NotFound:
                # No such device, or no such subresource: reading it tells them apart.
                device = keep(await self._read(device))
                self._switch(_MAIN)
            else:
                if self._subresource == _STATUS or has_it(written):
                    return written
                self._switch(_STATUS)  # nothing was written, and the device is the same
        return keep(await self._send(device, change(device), node))

    def subject(self, device: Object) -> Subject:
        """Return what to name when the API server rejects a device's status."""
        name = f"the status of {self.resource.kind.lower()} {label(device)}"
        involved = reference(self.resource, device)
        return Subject(self.resource.plural, name, involved, "its status is set aside")

    def _switch(self, subresource: str) -> None:
        if subresource != self._subresource:
            self._subresource = subresource
            log.info(
                "%s status: now written through %s",
                self.resource.kind.lower(),
                subresource or "the object",
            )

    async def _send(self, device: Object, status: Object, node: str) -> Object:
        metadata = device["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        version = metadata.get("resourceVersion")
        target = target_of(self.resource, namespace, name)
        if self._fence and node:
            await self._fence.check(node, target, version)
        patch = {"metadata": {"resourceVersion": version}, "status": status}
        written = await self._client.patch(
            self.resource, name, patch, namespace, subresource=self._subresource
        )
        if self._fence and node:
            self._fence.note_clean(target, written["metadata"]["resourceVersion"])
        return written

    async def _read(self, device: Object) -> Object:
        metadata = device["metadata"]
        return await self._client.get(self.resource, metadata["name"], metadata["namespace"])

"""Patches of objects with what their edges report, as a single cloudcore and as a replica."""

from __future__ import annotations

from typing import Final

from modules.common.kube import Conflict, KubeClient, Object, Resource
from modules.common.kube.client import PatchType
from modules.common.replicas.report_fence import ReportFence, target_of
from modules.edgecontroller.objects import version_of

#: Attempts at a patch, each after the first with the object read again.
_ATTEMPTS: Final = 4


class ReportPatcher:
    """Writes reports of edges; one of several replicas writes none over a later one of another."""

    def __init__(self, client: KubeClient, fence: ReportFence | None = None) -> None:
        self._client = client
        self._fence = fence

    async def patch(
        self,
        node: str,
        resource: Resource,
        name: str,
        patch: Object,
        namespace: str | None = None,
        *,
        known: Object | None = None,
        is_first: bool = False,
        type: PatchType = "strategic",  # noqa: A002 - the API's word for it
        subresource: str = "",
    ) -> Object:
        """Return the object as patched with what a node reports.

        `known` is the object as far as it is known, and `is_first` says that nothing reported is in
        that yet. Raises a KubeError, and HeldElsewhere if the node is another replica's.
        """
        if self._fence is None:
            return await self._client.patch(
                resource, name, patch, namespace, type=type, subresource=subresource
            )
        target = target_of(resource, namespace, name)
        version = self._fence.clean_version(target)
        if not version and known is not None:
            version = version_of(known)
            if is_first:
                self._fence.note_clean(target, version)
        attempts = _ATTEMPTS
        while True:
            if not version:
                found = await self._client.get(resource, name, namespace)
                version = version_of(found)
            await self._fence.check(node, target, version)
            fenced = patch | {"metadata": patch.get("metadata", {}) | {"resourceVersion": version}}
            try:
                written = await self._client.patch(
                    resource, name, fenced, namespace, type=type, subresource=subresource
                )
            except Conflict:
                attempts -= 1
                if not attempts:
                    raise
                version = ""
            else:
                self._fence.note_clean(target, version_of(written))
                return written

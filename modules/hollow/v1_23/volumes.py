"""What a pod's containers wait for: configmaps, secrets, tokens and volumes.

After kubelet's volume plugins, which ask through edge/pkg/metamanager/client.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from modules.hollow.references import references
from modules.hollow.v1_23.client import Client
from modules.hollow.v1_23.metamanager import RequestError

Json = dict[str, Any]


class Volumes:
    """Gets for the pods of one node what they refer to."""

    def __init__(self, node: str, client: Client) -> None:
        self._node = node
        self._client = client

    async def mount(self, pod: Json) -> None:
        """Get all that the pod refers to; raises RequestError for the first that is not there."""
        for claim in _claims(pod):
            await self._attach(f"{_namespace(pod)}/persistentvolumeclaim/{claim}")
        await self.refresh(pod)

    async def refresh(self, pod: Json) -> None:
        """Get configmaps and secrets that are not stored, and tokens that have to be renewed."""
        for key in references(pod):
            await self._client.get(key)
        account = pod["spec"].get("serviceAccountName") or "default"
        for spec in _tokens(pod):
            await self._client.token(_namespace(pod), account, spec)

    async def _attach(self, claim_key: str) -> None:
        claim = await self._client.query(claim_key)
        name = (claim.get("spec") or {}).get("volumeName")
        if not name:
            raise RequestError(f"{claim_key} is not bound to a volume")
        volume = await self._client.query(f"null/persistentvolume/{name}")
        if csi := (volume.get("spec") or {}).get("csi"):
            attachment = attachment_name(csi["volumeHandle"], csi["driver"], self._node)
            await self._client.query(f"default/volumeattachment/{attachment}")


def attachment_name(handle: str, driver: str, node: str) -> str:
    """Return the name of the VolumeAttachment of a CSI volume at a node (pkg/volume/csi)."""
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def _namespace(pod: Json) -> str:
    return str(pod["metadata"].get("namespace", "default"))


def _claims(pod: Json) -> Iterator[str]:
    for volume in pod["spec"].get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            yield claim["claimName"]


def _tokens(pod: Json) -> Iterator[Json]:
    """Yield the spec of a TokenRequest for each projected token."""
    metadata = pod["metadata"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if token := source.get("serviceAccountToken"):
                audience = token.get("audience")
                yield {
                    "audiences": [audience] if audience else None,
                    "expirationSeconds": token.get("expirationSeconds", 3600),
                    "boundObjectRef": bound,
                }

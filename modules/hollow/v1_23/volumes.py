"""What a pod's containers wait for: configmaps, secrets, tokens and volumes.

After kubelet's volume manager and plugins, which ask through edge/pkg/metamanager/client.
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
        self._in_use: dict[str, set[str]] = {}
        """uid of a pod -> the names of the volumes that have to be attached for it"""

    @property
    def in_use(self) -> list[str]:
        """What the Node's status reports as `volumesInUse`, before any of it is mounted."""
        return sorted(set().union(*self._in_use.values()))

    async def mount(self, pod: Json) -> None:
        """Get all that the pod refers to; raises RequestError for the first that is not there."""
        for claim in _claims(pod):
            await self._attach(pod, f"{_namespace(pod)}/persistentvolumeclaim/{claim}")
        await self.refresh(pod)

    def unmount(self, pod: Json) -> None:
        """Use the pod's volumes no longer."""
        self._in_use.pop(pod["metadata"]["uid"], None)

    async def refresh(self, pod: Json) -> None:
        """Get configmaps and secrets that are not stored, and tokens that have to be renewed."""
        for key in references(pod):
            await self._client.get(key)
        account = pod["spec"].get("serviceAccountName") or "default"
        for spec in _tokens(pod):
            await self._client.token(_namespace(pod), account, spec)

    async def _attach(self, pod: Json, claim_key: str) -> None:
        claim = await self._client.query(claim_key)
        name = (claim.get("spec") or {}).get("volumeName")
        if not name:
            raise RequestError(f"{claim_key} is not bound to a volume")
        volume = await self._client.query(f"null/persistentvolume/{name}")
        if csi := (volume.get("spec") or {}).get("csi"):
            await self._wait_attached(pod, csi["driver"], csi["volumeHandle"])

    async def _wait_attached(self, pod: Json, driver: str, handle: str) -> None:
        """Raise RequestError unless the cloud has attached a volume.

        It has to be in two lists of the Node's status, one of the edge and one of the cloud
        (GenerateVerifyControllerAttachedVolumeFunc), and in a VolumeAttachment (csi_attacher.go).
        """
        volume = f"kubernetes.io/csi/{driver}^{handle}"
        self._in_use.setdefault(pod["metadata"]["uid"], set()).add(volume)
        status = (await self._client.node()).get("status") or {}
        if volume not in (status.get("volumesInUse") or ()):
            raise RequestError(f"{volume} is not reported as in use yet")
        if not any(each["name"] == volume for each in status.get("volumesAttached") or ()):
            raise RequestError(f"{volume} is not attached to the Node")
        name = attachment_name(handle, driver, self._node)
        attachment = await self._client.query(f"default/volumeattachment/{name}")
        state = attachment.get("status") or {}
        if not state.get("attached"):
            error = (state.get("attachError") or {}).get("message") or "it is not attached yet"
            raise RequestError(f"VolumeAttachment {name}: {error}")


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

"""The rights of edge nodes: the only place that decides on them.

The rules are those of Kubernetes' Node authorizer (plugin/pkg/auth/authorizer/node), for the
messages of edges: which objects a node may read or write. What it may write into them is in
restriction.py. cloudcore's own account may read every Secret, so this is the only barrier for an
edge. docs/reference/controllers.md has the rules as a table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from modules.common.kube import (
    CSIDRIVERS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTACHMENTS,
    Key,
    KubeClient,
    NotFound,
    Object,
    Resource,
)
from modules.common.message_resource import ObjectResource
from modules.edgecontroller import messages
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.objects import uid_of, usable
from modules.edgecontroller.upstream.content import TokenRequest
from modules.edgecontroller.upstream.message_queue import retry_briefly

#: The namespace of node leases, which have the names of the nodes.
_LEASES: Final = "kube-node-lease"

#: Secrets of a volume that are for its controller alone (VisitPVSecretNames in
#: k8s.io/kubernetes/pkg/api/v1/persistentvolume, kubeletVisible).
_CONTROLLERS: Final = ("controllerPublishSecretRef", "controllerExpandSecretRef")


class Denied(Exception):
    """An edge node has no right to what it reads or writes."""


class Rights:
    """Decides what an edge node may read, by the pods that are bound to it."""

    def __init__(self, state: State, client: KubeClient) -> None:
        self._state = state
        self._client = client
        self._rules: dict[str, Callable[[ObjectResource], Awaitable[bool]]] = {
            messages.NODE: self._its_own,
            messages.POD: self._bound,
            messages.CONFIGMAP: self._referred_to,
            messages.SECRET: self._secret,
            messages.PERSISTENTVOLUMECLAIM: self._claim,
            messages.PERSISTENTVOLUME: self._claimed,
            messages.VOLUMEATTACHMENT: self._attached,
            messages.SERVICE: _for_every_node,
            messages.ENDPOINTS: _for_every_node,
        }

    async def check_read(self, about: ObjectResource) -> None:
        """Raise Denied unless the node that `about` names may read the object that it names.

        The answer does not depend on whether the object exists.
        """
        if ("", about.node) not in self._state.nodes and about.type != messages.NODE:
            raise Denied(f"there is no edge node {about.node} in the cluster")
        await self._state.pods_known(about.node)
        rule = self._rules.get(about.type)
        if rule is None or not await rule(about):
            raise Denied(f"no relationship found between node {about.node} and this object")

    async def own_pod(self, about: ObjectResource, uid: str = "") -> Object:
        """Return the pod that a node writes or deletes; raises Denied unless it is bound to it.

        The cache may be behind the API, but not behind what a node has been sent. A pod with
        another `uid` than that in the cache has been created by the node itself.
        """
        pod = self._state.stores[messages.POD].get((about.namespace, about.name))
        if pod is None or (uid and uid_of(pod) != uid):
            found = await retry_briefly(
                lambda: self._client.get(PODS, about.name, about.namespace), self._client.health
            )
            pod = usable(PODS, found)
        if not may_report(about.node, pod):
            raise Denied(f"the pod is not bound to node {about.node}")
        return pod

    async def check_event(self, about: ObjectResource, event: Object) -> None:
        """Raise Denied unless an event is the node's own, about itself or a pod of its.

        Stricter than the Node authorizer, which lets a node write every event of the cluster. A
        pod that is gone counts as the node's: kubelets write events about those too.
        """
        involved = _part(event, "involvedObject")
        name = involved.get("name")
        writers = {_part(event, "source").get("host"), _part(event).get("reportingInstance")}
        if writers - {None, ""} != {about.node}:
            raise Denied("a node may write events in its own name alone")
        if involved.get("kind") == "Node" and name == about.node:
            return
        if involved.get("kind") == "Pod" and involved.get("namespace") == about.namespace:
            pod = await self._pod(about.namespace, str(name))
            if pod is None or may_report(about.node, pod):
                return
        raise Denied("a node may write events about itself and its pods alone")

    async def check_token(self, about: ObjectResource, spec: TokenRequest.Spec) -> None:
        """Raise Denied unless a pod of the node uses the service account, and the audience.

        The token has to be bound to that pod (admitServiceAccount in noderestriction/admission.go).
        """
        bound_to = spec.bound_object_ref
        if not bound_to or (bound_to.kind, bound_to.api_version) != ("Pod", "v1"):
            raise Denied("a token for a node is to be bound to a pod")
        await self._state.pods_known(about.node)
        pod = self._state.stores[messages.POD].get((about.namespace, bound_to.name))
        if (
            pod is None
            or not bound_to.uid
            or uid_of(pod) != bound_to.uid
            or not may_report(about.node, pod)
            or _part(pod, "spec").get("serviceAccountName") != about.name
        ):
            raise Denied(f"no pod of node {about.node} with this uid uses the service account")
        audience, *more = spec.audiences or [""]
        if more or not await self._is_for(pod, audience):
            raise Denied("no volume of the pod has a token for this audience")

    async def _is_for(self, pod: Object, audience: str) -> bool:
        """Whether a volume of a pod, or the driver of one, has tokens for an audience."""
        if audience in _audiences_of(pod):
            return True
        for driver in await self._drivers_of(pod):
            found = await self._read(CSIDRIVERS, driver)
            requests = _part(found, "spec").get("tokenRequests")
            for request in requests if isinstance(requests, list) else ():
                if _part(request).get("audience", "") == audience:
                    return True
        return False

    async def _drivers_of(self, pod: Object) -> set[str]:
        """Return the CSI drivers of a pod's volumes."""
        found = {_part(volume, "csi").get("driver") for volume in _volumes_of(pod)}
        for claim in _claims_of(pod):
            found.add(_part(await self._volume_of(claim), "spec", "csi").get("driver"))
        return {driver for driver in found if isinstance(driver, str) and driver}

    async def _its_own(self, about: ObjectResource) -> bool:
        return about.name == about.node

    async def _bound(self, about: ObjectResource) -> bool:
        pod = await self._pod(about.namespace, about.name)
        return pod is not None and may_report(about.node, pod)

    async def _referred_to(self, about: ObjectResource) -> bool:
        item = (about.type, about.namespace, about.name)
        return self._state.locations.needs(about.node, item)

    async def _secret(self, about: ObjectResource) -> bool:
        if await self._referred_to(about):
            return True
        for claim in self._claims(about.node):
            volume = await self._volume_of(claim)
            if volume and (about.namespace, about.name) in _secrets_of(volume):
                return True
        return False

    async def _claim(self, about: ObjectResource) -> bool:
        return (about.namespace, about.name) in self._claims(about.node)

    async def _claimed(self, about: ObjectResource) -> bool:
        volume = await self._read(PERSISTENTVOLUMES, about.name)
        return volume is not None and _claim_of(volume) in self._claims(about.node)

    async def _attached(self, about: ObjectResource) -> bool:
        attachment = await self._read(VOLUMEATTACHMENTS, about.name)
        return attachment is not None and _part(attachment, "spec").get("nodeName") == about.node

    def _claims(self, node: str) -> set[Key]:
        """Return the PersistentVolumeClaims of the pods on a node."""
        pods = self._state.stores[messages.POD]
        on_node = (pods.get(key) for key in self._state.locations.pods_on(node))
        return {claim for pod in on_node if pod for claim in _claims_of(pod)}

    async def _volume_of(self, claim: Key) -> Object | None:
        """Return the volume that a claim is bound to, if the volume names the claim too."""
        namespace, name = claim
        found = await self._read(PERSISTENTVOLUMECLAIMS, name, namespace)
        volume = _part(found, "spec").get("volumeName")
        if not isinstance(volume, str) or not volume:
            return None
        bound = await self._read(PERSISTENTVOLUMES, volume)
        return bound if bound and _claim_of(bound) == claim else None

    async def _pod(self, namespace: str, name: str) -> Object | None:
        pod = self._state.stores[messages.POD].get((namespace, name))
        return pod or await self._read(PODS, name, namespace)

    async def _read(
        self, resource: Resource, name: str, namespace: str | None = None
    ) -> Object | None:
        try:
            return await retry_briefly(
                lambda: self._client.get(resource, name, namespace), self._client.health
            )
        except NotFound:
            return None


def own_node(about: ObjectResource) -> str:
    """Return the node that is written; raises Denied unless it is the writer itself."""
    if about.name != about.node:
        raise Denied("a node may write about itself alone")
    return about.name


def check_own_lease(about: ObjectResource) -> None:
    """Raise Denied unless a node's request is about its own lease."""
    if (about.namespace, about.name) != (_LEASES, about.node):
        raise Denied("a node may use its own lease alone")


def may_report(node: str, pod: Object) -> bool:
    """Whether a node may write the status of a pod and complete its deletion: if bound to it."""
    return _part(pod, "spec").get("nodeName") == node


async def _for_every_node(_: ObjectResource) -> bool:
    return True


def _volumes_of(pod: Object) -> list[Any]:
    volumes = _part(pod, "spec").get("volumes")
    return volumes if isinstance(volumes, list) else []


def _audiences_of(pod: Object) -> Iterator[str]:
    """Yield the audiences of the tokens in a pod's volumes; that of the API server is empty."""
    for volume in _volumes_of(pod):
        sources = _part(volume, "projected").get("sources")
        for source in sources if isinstance(sources, list) else ():
            if "serviceAccountToken" in _part(source):
                yield _part(source, "serviceAccountToken").get("audience") or ""


def _claims_of(pod: Object) -> Iterator[Key]:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    for volume in _volumes_of(pod):
        if claim := _part(volume, "persistentVolumeClaim").get("claimName"):
            yield namespace, claim
        if _part(volume, "ephemeral"):
            yield namespace, f"{name}-{_part(volume).get('name')}"


def _claim_of(volume: Object) -> Key:
    claim = _part(volume, "spec", "claimRef")
    return str(claim.get("namespace", "")), str(claim.get("name", ""))


def _secrets_of(volume: Object) -> set[Key]:
    """Return the secrets that a node needs to mount a volume."""
    default, _ = _claim_of(volume)
    found = set()
    for source in _part(volume, "spec").values():
        for field, value in _part(source).items():
            if field.endswith("ecretRef") and field not in _CONTROLLERS:
                secret = _part(value)
                namespace = secret.get("namespace") or default
                found.add((str(namespace), str(secret.get("name", ""))))
        if secret_name := _part(source).get("secretName"):  # azureFile
            namespace = _part(source).get("secretNamespace") or default
            found.add((str(namespace), str(secret_name)))
    return found


def _part(obj: Any, *path: str) -> dict[str, Any]:
    """Return a part of an object; empty if it is missing or no object."""
    for field in path:
        obj = obj.get(field) if isinstance(obj, dict) else None
    return obj if isinstance(obj, dict) else {}

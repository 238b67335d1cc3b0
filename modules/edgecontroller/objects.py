"""Kubernetes objects as they are cached and sent.

They are cached without `kind` and `apiVersion`: the Go code of v1.1 sends none, that of today fills
them in. Managed fields, which both send, are omitted: no edge reads them, and they are half of many
objects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from modules.common import kube
from modules.common.kube import Object, Resource
from modules.edgecontroller import messages

#: The resources that are watched, by the type in a message's resource.
RESOURCES: Final[dict[str, Resource]] = {
    messages.NODE: kube.NODES,
    messages.POD: kube.PODS,
    messages.CONFIGMAP: kube.CONFIGMAPS,
    messages.SECRET: kube.SECRETS,
    messages.SERVICE: kube.SERVICES,
    messages.ENDPOINTS: kube.ENDPOINTS,
}

#: Metadata fields whose change alone is not sent to edges (manager/pod.go).
_UNSENT_POD = frozenset({"resourceVersion", "generation"})

#: The same for endpoints, whose annotations are leader election's heartbeat (location.go).
_UNSENT_ENDPOINTS = frozenset({"resourceVersion", "generation", "annotations"})

#: The kind of source in a projected volume that is a service account's token.
_TOKEN = "serviceAccountToken"  # noqa: S105 - a kind, no token

#: Metadata fields of a Node whose change alone is not sent to its edge.
_UNSENT_NODE = frozenset({"resourceVersion", "generation", "managedFields"})

_NODE_METADATA = ("name", "uid", "resourceVersion")
_NODE_STATUS = ("conditions", "addresses", "capacity", "allocatable")


def usable(resource: Resource, obj: Any) -> Object:
    """Return an object from the API; raises BadObject if an edge could not decode it."""
    kube.check(obj, kube.shape_of(resource))
    found: Object = obj
    return found


def keeping(resource: Resource) -> Callable[[Any], Object]:
    """Return the function that reduces objects of a resource for the cache.

    It raises BadObject if an edge could not decode the object.
    """
    reduce = keep_node if resource.kind == "Node" else keep
    return lambda obj: reduce(usable(resource, obj))


def part_of(obj: Object | None, section: str) -> Object:
    """Return `spec`, `status` or the like of an object; empty if there is none."""
    return (obj or {}).get(section) or {}


def node_of(pod: Object) -> str:
    """Return the node that a pod is bound to; empty if it is not bound."""
    return part_of(pod, "spec").get("nodeName") or ""


def uid_of(obj: Object) -> str:
    return obj["metadata"].get("uid") or ""


def version_of(obj: Object) -> str:
    return obj["metadata"].get("resourceVersion") or ""


def keep(obj: Object) -> Object:
    """Reduce an object from the API, in place, to what is cached and sent."""
    obj.pop("kind", None)
    obj.pop("apiVersion", None)
    obj["metadata"].pop("managedFields", None)
    return obj


def keep_node(obj: Object) -> Object:
    """Reduce a node to the fields that are used; its images would be most of it."""
    metadata, status = obj["metadata"], part_of(obj, "status")
    return {
        "metadata": {key: metadata[key] for key in _NODE_METADATA if key in metadata},
        "status": {key: status[key] for key in _NODE_STATUS if key in status},
        "digest": node_digest(obj),
    }


def node_digest(node: Object) -> str:
    """Return a hash of what a node's kubelet reads of its Node and others write.

    That is its metadata and spec, and of the status the volumes attached and the conditions, which
    others set too while it is away; it reports them again only if they differ from its own.
    Heartbeats do not change it, so they are not sent back to the edge.
    """
    status = part_of(node, "status")
    conditions = [
        (condition.get("type"), condition.get("status"), condition.get("reason"))
        for condition in status.get("conditions") or ()
    ]
    metadata = {k: v for k, v in node["metadata"].items() if k not in _UNSENT_NODE}
    read = (metadata, node.get("spec"), status.get("volumesAttached"), conditions)
    data = msgspec.json.encode(read, order="deterministic")
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def for_v1_1(type_: str, obj: Object) -> Object:
    """Return an object as edges of v1.1 get it: without kind, and pods without tokens.

    Such an edge can get no service account token, and does not start a pod that has one
    ("GetServiceAccountToken unsupported"). It can mount the other sources of the same volume.
    """
    volumes = part_of(obj, "spec").get("volumes") if type_ == messages.POD else None
    if not volumes:
        return obj
    kept = [_without_token(volume) for volume in volumes]
    if all(one is other for one, other in zip(kept, volumes, strict=True)):
        return obj
    return {**obj, "spec": {**obj["spec"], "volumes": kept}}


def for_v1_23(type_: str, obj: Object) -> Object:
    """Return an object as edges of today get it: with kind and apiVersion, and whole."""
    resource = RESOURCES[type_]
    return {"kind": resource.kind, "apiVersion": resource.api_version, **obj}


def placeholder(namespace: str, name: str, **sections: Any) -> Object:
    """Return the content of a delete for an object that is no longer known, as Go encodes it."""
    return {
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": None},
        **sections,
    }


def placeholder_pod(namespace: str, name: str) -> Object:
    return placeholder(namespace, name, spec={"containers": None}, status={})


def pod_changed(old: Object, new: Object) -> bool:
    """Whether a change is sent to the edge: metadata or spec changed, not only the status."""
    return old.get("spec") != new.get("spec") or _metadata_changed(old, new, _UNSENT_POD)


def endpoints_changed(old: Object, new: Object) -> bool:
    """Whether a change is sent to edges: subsets or metadata changed."""
    return old.get("subsets") != new.get("subsets") or _metadata_changed(
        old, new, _UNSENT_ENDPOINTS
    )


def selects(selector: dict[str, str] | None, obj: Object) -> bool:
    """Whether a service's selector matches a pod; without a selector it matches none."""
    labels = obj["metadata"].get("labels") or {}
    return bool(selector) and all(
        labels.get(key) == value for key, value in (selector or {}).items()
    )


def _without_token(volume: Object) -> Object:
    projected = volume.get("projected") or {}
    sources = projected.get("sources") or ()
    others = [source for source in sources if _TOKEN not in source]
    if len(others) == len(sources):
        return volume
    return {**volume, "projected": {**projected, "sources": others}}


def _metadata_changed(old: Object, new: Object, unsent: frozenset[str]) -> bool:
    before, after = old["metadata"], new["metadata"]
    return any(before.get(key) != after.get(key) for key in (before.keys() | after.keys()) - unsent)

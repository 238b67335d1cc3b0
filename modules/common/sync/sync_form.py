"""What an ObjectSync says, and what it is called.

The form is that of Go's cloud (cloud/pkg/cloudhub/session/node_session.go). Go's cloud ignores one
of a kind that is not served, and deletes those of nodes that do not exist.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import msgspec

from modules.common.kube import CLUSTEROBJECTSYNCS, OBJECTSYNCS, Object, Resource
from modules.common.sync.journal import STALE, Item
from modules.common.sync.record import EVERY_NODE

#: The version of an object that a node has not acknowledged, as Go's cloud writes it.
UNSEEN: Final = "0"

#: The label with the node, for whoever looks with kubectl, and the limit of its value.
NODE_LABEL: Final = "cloudcore.kubeedge.io/node"
_LABEL_ROOM: Final = 63

#: The label with the controller that has made it, so that the other one need not be shown it.
CONTROLLER_LABEL: Final = "cloudcore.kubeedge.io/controller"

#: The annotation with what else was sent of an object, in JSON.
SENT: Final = "cloudcore.kubeedge.io/sent"

#: Stands for every node in the names and labels of ObjectSyncs.
_ALL: Final = "every-node.cloudcore.kubeedge.io"

#: In the rows of a record: the namespace of what has none.
NO_NAMESPACE: Final = "null"


class SyncKey(NamedTuple):
    """An ObjectSync; without a namespace, a ClusterObjectSync."""

    namespace: str
    name: str

    @property
    def resource(self) -> Resource:
        return OBJECTSYNCS if self.namespace else CLUSTEROBJECTSYNCS

    @property
    def node(self) -> str:
        return node_of(self.name)

    @property
    def uid(self) -> str:
        return self.name.rpartition(".")[2]


class Sync(NamedTuple):
    """What an ObjectSync says: the version of an object that a node has acknowledged."""

    node: str
    uid: str
    api_version: str
    kind: str
    namespace: str
    """of the object; empty for one of the cluster"""
    name: str
    version: str
    """empty if none was ever written"""


def read_sync(obj: Object) -> Sync | None:
    """Return what an ObjectSync or ClusterObjectSync says; None for one that says nothing."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    node, uid = node_of(metadata["name"]), metadata["name"].rpartition(".")[2]
    name = spec.get("objectName")
    if not (isinstance(name, str) and name and node and uid):
        return None
    version = (obj.get("status") or {}).get("objectResourceVersion")
    return Sync(
        node,
        uid,
        str(spec.get("objectAPIVersion")),
        str(spec.get("objectKind")),
        metadata.get("namespace") or "",
        name,
        version if isinstance(version, str) else "",
    )


def name_of(node: str, uid: str) -> str:
    """Return the name of an ObjectSync."""
    return f"{_ALL if node == EVERY_NODE else node}.{uid}"


def node_of(name: str) -> str:
    """Return the node in the name of an ObjectSync."""
    node = name.rpartition(".")[0]
    return EVERY_NODE if node == _ALL else node


def label_of(node: str) -> str:
    """Return the label's value for a node, whose name may be longer than a label."""
    if node == EVERY_NODE:
        return _ALL
    if len(node) <= _LABEL_ROOM:
        return node
    return hashlib.sha256(node.encode()).hexdigest()[:_LABEL_ROOM]


def places(namespace: str | None) -> tuple[tuple[Resource, str | None], ...]:
    """Return the resources of ObjectSyncs, each with the namespace in which it is looked for."""
    return ((OBJECTSYNCS, namespace), (CLUSTEROBJECTSYNCS, None))


def write_sent(payload: Any) -> str:
    """Return the annotation for a row's payload; empty if it has none."""
    return "" if payload is None else msgspec.json.encode(payload).decode()


def version_of(seen: str) -> str:
    """Return the resourceVersion of what the record has: `VERSION`, or of Nodes `HASH@VERSION`."""
    return UNSEEN if seen == STALE else seen.rpartition("@")[2] or UNSEEN


def seen_of(item: Item, version: str) -> str:
    """Return the version for the record; of a cluster's object the hash is not known."""
    return f"@{version}" if item[1] == NO_NAMESPACE else version

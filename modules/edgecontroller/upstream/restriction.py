"""What an edge node may write into the objects that it may write (noderestriction/admission.go).

Edges have their own rights here, without impersonation: the API server sees cloudcore's account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modules.common.kube import Object
from modules.common.pod_references import references
from modules.edgecontroller.upstream.authorization import Denied
from modules.edgecontroller.upstream.content import listed

#: The labels of Kubernetes that a kubelet may set on its Node (kubelet/pkg/apis).
_KUBELETS: Final = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    }
)
_KUBELETS_NAMESPACES: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")

#: The namespaces of labels whose meaning is Kubernetes' own, and of those for the cluster's alone.
_KUBERNETES: Final = ("kubernetes.io", "k8s.io")
_NOT_FOR_NODES: Final = ("node-restriction.kubernetes.io",)

#: Labels that make a Node an edge node, with which an edge registers itself.
_ROLES: Final = frozenset({"node-role.kubernetes.io/edge", "node-role.kubernetes.io/agent"})

#: Metadata that a node may write with a status; what it may not write of a pod's: resource claims,
#: nor directives of a strategic merge patch that would remove them.
_NODE_METADATA: Final = frozenset({"annotations", "labels"})
_POD_METADATA: Final = frozenset({"uid"})
_DIRECTIVES: Final = ("$patch", "$retainKeys")
_CLAIMS: Final = ("resourceClaimStatuses", "extendedResourceClaimStatus")

#: The annotation of mirror pods (kubernetes.io/config.mirror), and the volumes that need no
#: object of the API (HasAPIObjectReference in pkg/api/pod).
_MIRROR: Final = "kubernetes.io/config.mirror"
_VOLUMES: Final = frozenset(
    {
        *("awsElasticBlockStore", "azureDisk", "cephfs", "cinder", "downwardAPI", "emptyDir"),
        *("fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "hostPath", "image"),
        *("iscsi", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO"),
        *("storageos", "vsphereVolume"),
    }
)


def registration(node: Object) -> tuple[Object, list[str]]:
    """Return the Node to create for an edge, and the labels that it may not give itself."""
    metadata, spec = node["metadata"], node.get("spec") or {}
    labels = metadata.get("labels") or {}
    refused = [label for label in labels if not (may_label(label) or label in _ROLES)]
    made = {
        "metadata": {
            "name": metadata["name"],
            "annotations": metadata.get("annotations") or {},
            "labels": {key: value for key, value in labels.items() if key not in refused},
        },
        "spec": {key: value for key, value in spec.items() if key != "configSource"},
        "status": node.get("status") or {},
    }
    return made, refused


def check_node_patch(patch: Object) -> None:
    """Raise Denied unless a patch changes a Node's status, annotations and own labels alone."""
    _check_parts(patch, "a Node's", _NODE_METADATA)
    metadata = patch.get("metadata", {})
    for section in _NODE_METADATA:
        values = metadata.get(section)
        if section in metadata and not isinstance(values, dict):
            raise Denied(f"a node may not remove the {section} of its Node")
        if any(key.startswith("$") for key in values or ()):
            raise Denied(f"a node may not replace the {section} of its Node")
    check_labels(metadata.get("labels", {}))


def check_labels(labels: Mapping[str, Any]) -> None:
    """Raise Denied unless a node may change all of these labels of its Node."""
    refused = [label for label in labels if not may_label(label)]
    if refused:
        raise Denied(f"a node may not change its labels {listed(refused)}")


def check_pod_patch(patch: Object) -> None:
    """Raise Denied unless a patch changes a pod's status alone, and no resource claims."""
    _check_parts(patch, "a pod's", _POD_METADATA)
    for key in patch.get("status", {}):
        if key in _DIRECTIVES or key.rpartition("/")[2] in _CLAIMS:
            raise Denied(f"a node may not write {key} of a pod's status")


def check_mirror(pod: Object, node: str, uid: str) -> None:
    """Raise Denied unless a pod is the mirror of a static pod of a node, which needs no objects.

    `uid` is that of the Node, which has to be the only owner of the pod.
    """
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    owners = metadata.get("ownerReferences") or []
    expected = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": True}
    if _MIRROR not in (metadata.get("annotations") or {}):
        raise Denied(f"a node may create mirror pods alone, with the annotation {_MIRROR}")
    if spec.get("nodeName") != node:
        raise Denied("a node may create pods on itself alone")
    if len(owners) != 1 or {key: owners[0].get(key) for key in expected} != expected:
        raise Denied("a mirror pod is to have its Node as its owner and controller")
    if owners[0].get("blockOwnerDeletion"):
        raise Denied("a mirror pod may not block the deletion of its Node")
    if needed := _needed_objects(pod):
        raise Denied(f"a mirror pod may not refer to {needed}")


def may_label(label: str) -> bool:
    """Whether a kubelet may set or change a label of its own Node (getForbiddenLabels)."""
    namespace = label.partition("/")[0] if "/" in label else ""
    if _within(namespace, _NOT_FOR_NODES):
        return False
    if not _within(namespace, _KUBERNETES):
        return True
    return label in _KUBELETS or _within(namespace, _KUBELETS_NAMESPACES)


def _within(namespace: str, suffixes: tuple[str, ...]) -> bool:
    return any(namespace == each or namespace.endswith(f".{each}") for each in suffixes)


def _check_parts(patch: Object, whose: str, metadata: frozenset[str]) -> None:
    if not patch.keys() <= {"metadata", "status"} or not isinstance(patch.get("status", {}), dict):
        raise Denied(f"a node may write {whose} status alone")
    written = patch.get("metadata", {})
    if not isinstance(written, dict) or not written.keys() <= metadata:
        raise Denied(
            f"a node may write {whose} status alone, and its {', '.join(sorted(metadata))}"
        )


def _needed_objects(pod: Object) -> str:
    """Return which objects of the API a pod refers to; empty if none (HasAPIObjectReference)."""
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        return "a service account"
    if references(pod):
        return "configmaps or secrets"
    if spec.get("resourceClaims"):
        return "resource claims"
    for volume in spec.get("volumes") or ():
        sources = {key for key, value in volume.items() if value is not None} - {"name"}
        if "projected" in sources:
            projections = (volume["projected"] or {}).get("sources") or ()
            sources = sources - {"projected"} | {kind for each in projections for kind in each}
        if more := sources - _VOLUMES:
            return f"{listed(more)} in its volumes"
    return ""

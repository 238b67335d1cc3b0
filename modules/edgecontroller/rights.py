"""The rights that EdgeController needs in the API, each with what it is for.

deploy/rbac grants them; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from modules.common.kube.rights import Right, rights
from modules.common.kubeedge_secrets import NAMESPACE

_CORE: Final = ""

RIGHTS: Final[list[Right]] = [
    # Copies of what edges may have.
    *rights(_CORE, "list watch", "nodes pods configmaps secrets services endpoints"),
    # Questions of edges.
    *rights(_CORE, "get", "nodes pods configmaps secrets services endpoints"),
    *rights(_CORE, "get", "persistentvolumes persistentvolumeclaims"),
    *rights("storage.k8s.io", "get", "volumeattachments csidrivers"),
    # What edges report, create and keep.
    *rights(_CORE, "patch", "nodes nodes/status pods/status"),
    *rights(_CORE, "create", "nodes pods serviceaccounts/token"),
    *rights(_CORE, "delete", "pods"),
    *rights("coordination.k8s.io", "get create update", "leases"),
    # Serving certificates, requested by edges and approved here.
    *rights("certificates.k8s.io", "create get", "certificatesigningrequests"),
    *rights("certificates.k8s.io", "update", "certificatesigningrequests/approval"),
    *rights("certificates.k8s.io", "approve", "signers", name="kubernetes.io/kubelet-serving"),
    # Events of edges, and those that operators should see.
    *rights(_CORE, "get update create patch", "events"),
]

#: As one of several replicas, besides those for its record in ObjectSyncs.
FOR_REPLICAS: Final[list[Right]] = [
    *rights("reliablesyncs.kubeedge.io", "get watch patch", "objectsyncs clusterobjectsyncs"),
    *rights("coordination.k8s.io", "get list create update delete", "leases", namespace=NAMESPACE),
]

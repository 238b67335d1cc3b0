"""The columns that `kubectl get` prints for each kind (meta.k8s.io/v1 Table).

Names, order and cells follow k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from modules.apiserver.columns.cells import AGE, NAME, Column
from modules.apiserver.columns.certificates import CERTIFICATESIGNINGREQUESTS
from modules.apiserver.columns.core import (
    CONFIGMAPS,
    ENDPOINTS,
    EVENTS,
    NAMESPACES,
    SECRETS,
    SERVICES,
)
from modules.apiserver.columns.crds import CUSTOMRESOURCEDEFINITIONS, custom_columns
from modules.apiserver.columns.nodes import NODES
from modules.apiserver.columns.others import ENDPOINTSLICES, LEASES
from modules.apiserver.columns.pods import PODS
from modules.apiserver.columns.storage import (
    CSIDRIVERS,
    CSINODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
    VOLUMEATTACHMENTS,
)

__all__ = [
    "AGE",
    "CERTIFICATESIGNINGREQUESTS",
    "CONFIGMAPS",
    "CSIDRIVERS",
    "CSINODES",
    "CUSTOMRESOURCEDEFINITIONS",
    "ENDPOINTS",
    "ENDPOINTSLICES",
    "EVENTS",
    "LEASES",
    "NAME",
    "NAMESPACES",
    "NODES",
    "PERSISTENTVOLUMECLAIMS",
    "PERSISTENTVOLUMES",
    "PODS",
    "SECRETS",
    "SERVICES",
    "STORAGECLASSES",
    "VOLUMEATTACHMENTS",
    "Column",
    "custom_columns",
]

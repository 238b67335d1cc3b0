"""The rights that DeviceController needs in the API, each with what it is for.

deploy/rbac grants them; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from modules.common.kube import DEVICES
from modules.common.kube.rights import Right, rights
from modules.common.kubeedge_secrets import NAMESPACE

_CORE: Final = ""

RIGHTS: Final[list[Right]] = [
    # Which nodes there are; the profiles of devices, a ConfigMap for each node.
    *rights(_CORE, "list watch", "nodes configmaps"),
    *rights(_CORE, "create patch delete", "configmaps"),
    # Events that operators should see.
    *rights(_CORE, "create patch", "events"),
    *rights(DEVICES.group, "list watch", "devices devicemodels"),
    *rights(DEVICES.group, "list", "devicestatuses"),
    # Statuses; of v1alpha1 it is a subresource.
    *rights(DEVICES.group, "get patch", "devices devicestatuses"),
    *rights(DEVICES.group, "patch", "devices/status"),
    # The DeviceStatus of each device of v1beta1 is made with it, and deleted with it.
    *rights(DEVICES.group, "create delete", "devicestatuses"),
    *rights(DEVICES.group, "update", "devices/finalizers"),
]

#: As one of several replicas, besides those for its record in ObjectSyncs.
FOR_REPLICAS: Final[list[Right]] = [
    *rights("reliablesyncs.kubeedge.io", "get watch patch", "objectsyncs clusterobjectsyncs"),
    *rights("coordination.k8s.io", "get create update", "leases", namespace=NAMESPACE),
]

#: With install_crds = true.
FOR_CRDS: Final[list[Right]] = rights("apiextensions.k8s.io", "create", "customresourcedefinitions")

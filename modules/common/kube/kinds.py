"""The kinds of objects that cloudcore reads or writes, and their API paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from modules.common.kube.errors import BadRequest


@dataclass(frozen=True)
class Resource:
    """A resource of the API: group, version and plural are its path."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the URL path; without a namespace, that of all namespaces."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def describe(self, namespace: str | None = None, name: str = "") -> str:
        """Return the name of an object for messages: `pods default/web`."""
        if not name:
            return f"{self.plural} in {namespace}" if namespace else self.plural
        return f"{self.plural} {namespace}/{name}" if namespace else f"{self.plural} {name}"


def _segment(name: str) -> str:
    """Quote a name; raises BadRequest for `.` and `..`, which would lead to another path."""
    if name in (".", ".."):
        raise BadRequest(400, "BadRequest", f"{name!r} cannot be the name of an object")
    return quote(name, safe="")


NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS: Final = Resource("", "v1", "pods", "Pod", namespaced=True)
CONFIGMAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SECRETS: Final = Resource("", "v1", "secrets", "Secret", namespaced=True)
SERVICES: Final = Resource("", "v1", "services", "Service", namespaced=True)
ENDPOINTS: Final = Resource("", "v1", "endpoints", "Endpoints", namespaced=True)
EVENTS: Final = Resource("", "v1", "events", "Event", namespaced=True)
SERVICEACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", namespaced=True)
CERTIFICATESIGNINGREQUESTS: Final = Resource(
    "certificates.k8s.io",
    "v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    namespaced=False,
)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PERSISTENTVOLUMES: Final = Resource(
    "", "v1", "persistentvolumes", "PersistentVolume", namespaced=False
)
PERSISTENTVOLUMECLAIMS: Final = Resource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", namespaced=True
)
VOLUMEATTACHMENTS: Final = Resource(
    "storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", namespaced=False
)
CSIDRIVERS: Final = Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", namespaced=False)
DEVICES: Final = Resource("devices.kubeedge.io", "v1alpha1", "devices", "Device", namespaced=True)
DEVICEMODELS: Final = Resource(
    "devices.kubeedge.io", "v1alpha1", "devicemodels", "DeviceModel", namespaced=True
)
DEVICES_V1BETA1: Final = Resource(
    "devices.kubeedge.io", "v1beta1", "devices", "Device", namespaced=True
)
DEVICEMODELS_V1BETA1: Final = Resource(
    "devices.kubeedge.io", "v1beta1", "devicemodels", "DeviceModel", namespaced=True
)
DEVICESTATUSES: Final = Resource(
    "devices.kubeedge.io", "v1beta1", "devicestatuses", "DeviceStatus", namespaced=True
)
OBJECTSYNCS: Final = Resource(
    "reliablesyncs.kubeedge.io", "v1alpha1", "objectsyncs", "ObjectSync", namespaced=True
)
CLUSTEROBJECTSYNCS: Final = Resource(
    "reliablesyncs.kubeedge.io",
    "v1alpha1",
    "clusterobjectsyncs",
    "ClusterObjectSync",
    namespaced=False,
)
CUSTOMRESOURCEDEFINITIONS: Final = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
DAEMONSETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
SELFSUBJECTACCESSREVIEWS: Final = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
)

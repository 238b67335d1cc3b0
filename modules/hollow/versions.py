"""The versions of KubeEdge that a hollow edge can have, and what differs between them.

1.1 has a protocol of its own. The JSON edges of 1.15 to 1.23 differ in how they keep their Node
(edge/pkg/edged/kubeclientbridge, edge/pkg/metamanager/process.go requireRemoteQuery), and in how
they know devices (edge/pkg/devicetwin).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modules.common.wire import generations

#: The project that edges name if their configuration does not.
PROJECT_ID: Final = "e632aba927ea4ac2b575ec1603d56f10"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of KubeEdge, as far as its messages differ."""

    number: str
    generation: str
    node_namespace: str = "default"
    """The first part of the Node's resource."""
    node_is_queried: bool = True
    """Whether edged reads its Node from the cloud, and not from the edge's store."""
    devices_have_namespaces: bool = True
    """Whether the edge knows a device as `NAMESPACE/NAME`, and not by its name alone."""
    reports_states: bool = True
    """Whether the states of devices are sent to the cloud."""
    kubernetes: str = ""
    """The Kubernetes release whose kubelet the edge contains."""

    @property
    def kubelet(self) -> str:
        """The kubeletVersion that the edge reports."""
        return f"v{self.kubernetes}-kubeedge-v{self.number}.0"


_JSON: Final = generations.V1_23

VERSIONS: Final = {
    version.number: version
    for version in (
        Version("1.1", generations.V1_1, kubernetes="1.10.9"),
        Version(
            "1.15",
            _JSON,
            devices_have_namespaces=False,
            reports_states=False,
            kubernetes="1.26.15",
        ),
        Version("1.16", _JSON, reports_states=False, kubernetes="1.27.15"),
        Version("1.17", _JSON, reports_states=False, kubernetes="1.28.11"),
        Version("1.18", _JSON, kubernetes="1.29.6"),
        Version("1.19", _JSON, kubernetes="1.29.5"),
        Version("1.20", _JSON, kubernetes="1.30.7"),
        Version("1.21", _JSON, kubernetes="1.30.7"),
        Version("1.22", _JSON, kubernetes="1.31.12"),
        Version("1.23", _JSON, "null", node_is_queried=False, kubernetes="1.32.10"),
    )
}

"""The version of KubeEdge that an edge reports with its Node, and which of them are served."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, Self

_KUBELET_VERSION: Final = re.compile(r"kubeedge-v([1-9]\d*)\.(\d+)")

#: A Node of KubeEdge has this label.
EDGE_LABEL: Final = "node-role.kubernetes.io/edge"


class EdgeVersion(NamedTuple):
    """Major and minor version of KubeEdge."""

    major: int
    minor: int

    @classmethod
    def of(cls, node: dict[str, Any]) -> Self | None:
        """Return what a Node says; None for one that says none.

        That is a kubelet, an edge that has not reported yet, a build without a version (v0.0), or
        a Node whose fields have other types.
        """
        status = node.get("status")
        info = status.get("nodeInfo") if isinstance(status, dict) else None
        version = info.get("kubeletVersion") if isinstance(info, dict) else None
        found = _KUBELET_VERSION.search(str(version or ""))
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def is_tried(self) -> bool:
        """Whether edges of this version were tried with cloudcore (docs/compatibility.md)."""
        return self == V1_1 or OLDEST_TODAY <= self <= NEWEST

    @property
    def knows_v1beta1(self) -> bool:
        """Whether such an edge knows devices of v1beta1."""
        return self >= V1_15

    @property
    def names_devices_alone(self) -> bool:
        """Whether such an edge knows a device by its name without the namespace."""
        return self <= V1_15

    @property
    def is_in_its_certificate(self) -> bool:
        """Whether a certificate that KubeEdge gave an edge of this version names its node."""
        return self > V1_15

    @property
    def knows_object_syncs(self) -> bool:
        """Whether what such an edge has is recorded in ObjectSyncs: it acknowledges by version."""
        return self >= OLDEST_TODAY


V1_1: Final = EdgeVersion(1, 1)
V1_15: Final = EdgeVersion(1, 15)
OLDEST_TODAY: Final = V1_15
NEWEST: Final = EdgeVersion(1, 23)

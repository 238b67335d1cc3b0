"""In which API versions a cluster serves devices, and whose CRDs they are."""

from __future__ import annotations

from typing import Final

from modules.common.kube import (
    DEVICEMODELS,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    KubeClient,
    served_resources,
)

_ALPHA1: Final = DEVICES.version
_BETA1: Final = DEVICES_V1BETA1.version
_NEEDED: Final = {DEVICES.plural, DEVICEMODELS.plural}

#: The edges that know the devices of a version.
_EDGES: Final = {
    _ALPHA1: "edges of KubeEdge 1.1",
    "v1alpha2": "edges of KubeEdge 1.2 to 1.14, which cloudcore serves no devices",
    _BETA1: "edges of KubeEdge 1.15 to 1.23",
}


class DeviceVersions:
    """The versions of devices that an API server serves."""

    def __init__(self, served: dict[str, set[str]]) -> None:
        self.served = [version for version, plurals in served.items() if plurals >= _NEEDED]
        self.has_statuses = DEVICESTATUSES.plural in served.get(_BETA1, ())

    @classmethod
    async def read(cls, client: KubeClient) -> DeviceVersions:
        """Ask the API server; raises a KubeError."""
        return cls(await served_resources(client, DEVICES.group))

    @property
    def are_known(self) -> bool:
        """Whether cloudcore knows one of them."""
        return bool({_ALPHA1, _BETA1} & set(self.served))

    def __str__(self) -> str:
        if not self.served:
            return "the cluster lacks the CRDs of devices"
        known = "; ".join(f"{each} for {_EDGES.get(each, '?')}" for each in sorted(self.served))
        return f"devices are served by {self._whose()}: {known}"

    def _whose(self) -> str:
        if {_ALPHA1, _BETA1} <= set(self.served):
            return "cloudcore's CRDs"
        if _BETA1 not in self.served:
            return "CRDs of an earlier KubeEdge"
        return f"the CRDs of KubeEdge {'1.23' if self.has_statuses else '1.15 to 1.22'}"

"""The fleet of edges, and the kinds of objects that they get."""

from __future__ import annotations

from typing import Final

from modules.common.kube import (
    CONFIGMAPS,
    DEVICES,
    ENDPOINTS,
    PODS,
    SECRETS,
    SERVICES,
    Resource,
)

from . import todays_devices

#: The edges, old and new, and the version of KubeEdge of each.
FLEET: Final = {"edge-1": "1.1", "edge-2": "1.1", "edge-3": "1.20", "edge-4": "1.23"}
EDGES: Final = tuple(FLEET)
#: Edges that are given devices of v1alpha1, services and endpoints.
OLD_EDGES: Final = tuple(name for name, version in FLEET.items() if version == "1.1")
#: Edges that are given devices of v1beta1, and whose cloud notices when they lose their database.
NEW_EDGES: Final = tuple(name for name in EDGES if name not in OLD_EDGES)
NAMES: Final = ("a", "b", "c")
VICTIMS: Final = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")

KINDS: Final[dict[str, Resource]] = {
    "pod": PODS,
    "configmap": CONFIGMAPS,
    "secret": SECRETS,
    "service": SERVICES,
    "endpoints": ENDPOINTS,
    "device": DEVICES,
}
DELETABLE: Final = KINDS | todays_devices.KINDS

"""Everything that is known of one edge."""

from __future__ import annotations

from typing import Any, Final

from modules.common.kube import NODES, KubeError
from modules.dashboard.sources.cluster import Cluster
from modules.dashboard.sources.devices import Devices, device_document
from modules.dashboard.sources.edges import Edges, join, reduced
from modules.dashboard.sources.fields import mapping, mappings, seconds
from modules.dashboard.sources.pods import pods_of
from modules.dashboard.sources.unacknowledged import Unacknowledged

_INFO: Final = (
    "kubeletVersion",
    "osImage",
    "kernelVersion",
    "architecture",
    "containerRuntimeVersion",
)


class NotKnown(Exception):
    """Nobody who could say whether there is an edge answers; the text says why."""


class OneEdge:
    """Reads one edge when its page asks."""

    def __init__(
        self, cluster: Cluster, edges: Edges, devices: Devices, unacknowledged: Unacknowledged
    ) -> None:
        self._cluster = cluster
        self._edges = edges
        self._devices = devices
        self._unacknowledged = unacknowledged

    async def read(self, name: str) -> dict[str, Any] | None:
        """Return the edge's page; None if there is no such edge.

        Raises NotKnown if what would say so cannot be read.
        """
        sessions = await self._edges.sessions()
        faults = [*sessions.faults]
        try:
            nodes = await self._cluster.list(NODES, field_selector=f"metadata.name={name}")
            pods = await pods_of(self._cluster, name)
        except KubeError as error:
            faults.append(str(error))
            nodes, pods = [], []
        session = sessions.rows.get(name)
        mine = sessions._replace(rows={name: session} if session else {})
        edge = join(mine, reduced(nodes)).get(name)
        if edge is None and faults:
            raise NotKnown(f"whether there is an edge {name!r} is not known: {'; '.join(faults)}")
        if edge is None:
            return None
        devices = [each for each in await self._devices.read() if each.node == name]
        faults += [self._devices.fault] if self._devices.fault else []
        return {
            "edge": edge,
            "session": session if session and "since" in session else None,
            "node": _node(nodes[0]) if nodes else None,
            "pods": pods,
            "devices": [device_document(each) for each in devices],
            "unacknowledged": await self._unacknowledged.of(name, devices),
            "faults": faults,
        }


def _node(node: Any) -> dict[str, Any]:
    status = mapping(node, "status")
    info = mapping(status, "nodeInfo")
    return {
        "created": seconds(mapping(node, "metadata").get("creationTimestamp")),
        "unschedulable": bool(mapping(node, "spec").get("unschedulable")),
        "info": {name: str(info.get(name) or "") for name in _INFO},
        "addresses": [str(each.get("address", "")) for each in mappings(status, "addresses")],
        "conditions": [
            {
                "type": str(each.get("type", "")),
                "status": str(each.get("status", "")),
                "reason": str(each.get("reason") or ""),
                "message": str(each.get("message") or ""),
                "since": seconds(each.get("lastTransitionTime")),
            }
            for each in mappings(status, "conditions")
        ],
    }

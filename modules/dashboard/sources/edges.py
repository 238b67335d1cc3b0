"""The edges: their sessions in CloudHub, joined with their Nodes in the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from modules.common.edge_versions import EDGE_LABEL
from modules.common.kube import NODES, KubeError
from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.sources.cluster import Cluster

#: The label of nodes that run edgecore.
_LEFT: Final = "its connection has ended; its Node is not due to report again yet"
_NO_HUB: Final = "cloudhub does not answer, so nobody knows whether it is connected"


class Edge(msgspec.Struct, frozen=True):
    """One edge node as the table of edges shows it; times are in seconds since the epoch."""

    name: str
    state: str
    """ready, not ready, disconnected, no node (connected, without a Node) or unknown"""
    since: float | None
    why: str
    connected: float | None
    address: str
    protocol: str
    """json, or packed with KubeEdge 1.1; empty if it is not connected"""
    version: str
    queue: int
    """messages that CloudHub has not written to it yet"""
    certificate: float | None
    """when the certificate of its connection expires"""
    process: str
    """the process of CloudHub that holds its connection"""


class Edges:
    """Reads all edges."""

    def __init__(self, run_dir: Path, cluster: Cluster) -> None:
        self._run_dir = run_dir
        self._cluster = cluster
        self.fault = ""
        """why what was read last is incomplete"""

    async def read(self) -> dict[str, Edge]:
        """Return all edges by name; what cannot be reached is left out, and in `fault`."""
        faults = []
        sessions = await self.sessions()
        if sessions is None:
            faults.append("cloudhub does not answer")
        try:
            nodes = await self._cluster.list(NODES)
        except KubeError as error:
            faults.append(str(error))
            nodes = []
        self.fault = "; ".join(faults)
        return join(sessions, nodes)

    async def sessions(self) -> dict[str, dict[str, Any]] | None:
        """Return the rows of `cloudcore nodes` by node; None if no process of CloudHub answers."""
        found: dict[str, dict[str, Any]] = {}
        answered = False
        for path in hub_sockets(self._run_dir):
            async with Admin(path) as hub:
                try:
                    rows = await hub.get("/nodes")
                except (AdminUnavailable, AdminRefused):
                    continue
            answered = True
            found |= {row["node"]: row for row in rows}
        return found if answered else None


def hub_sockets(run_dir: Path) -> list[Path]:
    """Return the sockets of all processes of CloudHub."""
    return sorted((*run_dir.glob("cloudhub.sock"), *run_dir.glob("cloudhub-*.sock")))


def join(sessions: dict[str, dict[str, Any]] | None, nodes: Iterable[Any]) -> dict[str, Edge]:
    """Join the sessions with the Nodes; a Node without session is an edge if its label says so."""
    found: dict[str, Edge] = {}
    for node in nodes:
        metadata = node.get("metadata") or {}
        name = str(metadata.get("name", ""))
        if name in (sessions or {}) or EDGE_LABEL in (metadata.get("labels") or {}):
            found[name] = _edge(name, node, sessions)
    for name in sessions or {}:
        if name not in found:
            found[name] = _edge(name, None, sessions)
    return found


def _edge(name: str, node: Any, sessions: dict[str, dict[str, Any]] | None) -> Edge:
    row = (sessions or {}).get(name)
    condition = _ready_condition(node)
    state, since, why = _state(node, row, condition, known=sessions is not None)
    info = ((node or {}).get("status") or {}).get("nodeInfo") or {}
    return Edge(
        name=name,
        state=state,
        since=since,
        why=why,
        connected=row["since"] if row else None,
        address=row["address"] if row else "",
        protocol=row["protocol"] if row else "",
        version=str(info.get("kubeletVersion", "")),
        queue=row["queue_messages"] if row else 0,
        certificate=row["certificate"]["expires"] if row else None,
        process=row["process"] if row else "",
    )


def _state(
    node: Any, row: dict[str, Any] | None, condition: dict[str, Any], *, known: bool
) -> tuple[str, float | None, str]:
    """Return an edge's state, since when, and why it is not ready."""
    since = seconds(condition.get("lastTransitionTime"))
    why = str(condition.get("message") or condition.get("reason") or "")
    ready = condition.get("status") == "True"
    if not known:
        return "unknown", since, _NO_HUB
    if row is None:
        return "disconnected", None if ready else since, _LEFT if ready else why
    if node is None:
        return "no node", row["since"], "it is connected, and the Kubernetes API has no such Node"
    if ready:
        return "ready", max(since or 0.0, row["since"]), ""
    return "not ready", since, why or "it has not reported its status yet"


def _ready_condition(node: Any) -> dict[str, Any]:
    conditions = ((node or {}).get("status") or {}).get("conditions") or []
    for condition in conditions:
        if isinstance(condition, dict) and condition.get("type") == "Ready":
            return condition
    return {}


def seconds(timestamp: Any) -> float | None:
    """Return a Kubernetes timestamp in seconds since the epoch; None if it is none."""
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return None

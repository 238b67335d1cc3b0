"""The edges: their sessions in CloudHub, joined with their Nodes in the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from modules.common.edge_versions import EDGE_LABEL
from modules.common.kube import NODES, KubeError
from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.sources.cluster import Cluster
from modules.dashboard.sources.fields import mapping, mappings, seconds

#: A row of `cloudcore nodes -o json`.
Row = dict[str, Any]

#: The socket of CloudHub's first process, which knows the other replicas.
_FIRST: Final = "cloudhub.sock"
#: Seconds for the tables of the other replicas: CloudHub waits 15 s for one that is stuck.
_REPLICAS_TIMEOUT: Final = 20.0

_LEFT: Final = "its connection has ended; its Node is not due to report again yet"
_NO_REPORT: Final = "it has not reported its status yet"
_NO_NODE: Final = "it is connected, and the Kubernetes API has no such Node"
_NO_HUB: Final = "cloudhub does not answer, so nobody knows whether it is connected"


class NodeState(NamedTuple):
    """What is known of an edge by its Node."""

    is_edge: bool
    """whether its label says so"""
    ready: bool
    since: float | None
    why: str
    version: str


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
    replica: str = ""
    """the cloudcore that holds it, of several; empty if this is the only one"""


class EdgeSessions(NamedTuple):
    """The edges that are connected, to this cloudcore or to another replica."""

    rows: dict[str, Row]
    """those of `cloudcore nodes --all` by node; one of a replica that does not answer has no
    `since`"""
    known: bool
    """whether a process of CloudHub has answered"""
    faults: list[str]


class Edges:
    """Reads all edges."""

    def __init__(self, run_dir: Path, cluster: Cluster, *, replicas: bool = False) -> None:
        """Set up; `replicas` says whether there may be other cloudcores that hold edges."""
        self._run_dir = run_dir
        self._cluster = cluster
        self._replicas = replicas
        self._nodes: dict[str, NodeState] = {}
        self.fault = ""
        """why what was read last is incomplete"""

    async def read(self) -> dict[str, Edge]:
        """Return all edges by name; Nodes that cannot be read are as they were: see `fault`."""
        sessions = await self.sessions()
        faults = [*sessions.faults]
        try:
            self._nodes = reduced(await self._cluster.list(NODES))
        except KubeError as error:
            faults.append(str(error))
        self.fault = "; ".join(faults)
        return join(sessions, self._nodes)

    async def sessions(self) -> EdgeSessions:
        """Ask the processes of CloudHub, and through them the other replicas."""
        found: dict[str, Row] = {}
        faults: list[str] = []
        known = False
        for path in hub_sockets(self._run_dir):
            async with Admin(path) as hub:
                try:
                    rows = await hub.get("/nodes")
                except (AdminUnavailable, AdminRefused):
                    continue
                others = await self._of_others(hub, faults) if self._asks(path) else {}
            known = True
            found |= others | {row["node"]: row for row in rows}
        if not known:
            faults.append("cloudhub does not answer")
        return EdgeSessions(found, known, faults)

    async def _of_others(self, hub: Admin, faults: list[str]) -> dict[str, Row]:
        """Return the rows of the other replicas; adds to `faults` what is missing."""
        try:
            others = await hub.get("/replicas", timeout=_REPLICAS_TIMEOUT)
        except (AdminUnavailable, AdminRefused) as error:
            faults.append(f"the other replicas: {error}")
            return {}
        found: dict[str, Row] = {}
        for each in others:
            found |= {row["node"]: row for row in each["nodes"]}
            if reason := each.get("error"):
                faults.append(f"replica {each['replica']}: {reason}")
        return found

    def _asks(self, path: Path) -> bool:
        """Whether this process of CloudHub is the one that asks the other replicas."""
        return self._replicas and path.name == _FIRST


def hub_sockets(run_dir: Path) -> list[Path]:
    """Return the sockets of all processes of CloudHub."""
    return sorted((*run_dir.glob(_FIRST), *run_dir.glob("cloudhub-*.sock")))


def reduced(nodes: Iterable[Any]) -> dict[str, NodeState]:
    """Return what is shown of Nodes, by name."""
    found: dict[str, NodeState] = {}
    for node in nodes:
        metadata, status = mapping(node, "metadata"), mapping(node, "status")
        condition = _ready_condition(status)
        found[str(metadata.get("name", ""))] = NodeState(
            is_edge=EDGE_LABEL in mapping(metadata, "labels"),
            ready=condition.get("status") == "True",
            since=seconds(condition.get("lastTransitionTime")),
            why=str(condition.get("message") or condition.get("reason") or ""),
            version=str(mapping(status, "nodeInfo").get("kubeletVersion") or ""),
        )
    return found


def join(sessions: EdgeSessions, nodes: Mapping[str, NodeState]) -> dict[str, Edge]:
    """Join sessions with Nodes; a Node without session is an edge if its label says so."""
    rows = sessions.rows
    found = {
        name: _edge(name, node, rows.get(name), known=sessions.known)
        for name, node in nodes.items()
        if node.is_edge or name in rows
    }
    return found | {
        name: _edge(name, None, row, known=sessions.known)
        for name, row in rows.items()
        if name not in found
    }


def _edge(name: str, node: NodeState | None, row: Row | None, *, known: bool) -> Edge:
    state, since, why = _state(node, row, known=known)
    held = row if row and "since" in row else None
    return Edge(
        name=name,
        state=state,
        since=since,
        why=why,
        # CloudHub computes it for each answer from clocks that differ by milliseconds.
        connected=round(held["since"]) if held else None,
        address=held["address"] if held else "",
        protocol=held["protocol"] if held else "",
        version=node.version if node else "",
        queue=held["queue_messages"] if held else 0,
        certificate=held["certificate"]["expires"] if held else None,
        process=held["process"] if held else "",
        replica=row.get("replica") or "" if row else "",
    )


def _state(
    node: NodeState | None, row: Row | None, *, known: bool
) -> tuple[str, float | None, str]:
    """Return an edge's state, since when, and why it is not ready."""
    if not known:
        return "unknown", node and node.since, _NO_HUB
    if row is None:
        assert node
        since, why = (None, _LEFT) if node.ready else (node.since, node.why)
        return "disconnected", since, why
    connected = row.get("since")
    if node is None:
        return "no node", connected and round(connected), _NO_NODE
    if node.ready:
        return "ready", max(node.since or 0.0, round(connected or 0.0)), ""
    return "not ready", node.since, node.why or _NO_REPORT


def _ready_condition(status: Any) -> dict[str, Any]:
    conditions = mappings(status, "conditions")
    return next((each for each in conditions if each.get("type") == "Ready"), {})

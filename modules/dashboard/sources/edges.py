"""The edges: their sessions in CloudHub, joined with their Nodes in the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from modules.common.edge_versions import EDGE_LABEL
from modules.common.kube import LEASES, NODES, BadObject, KubeError
from modules.common.replicas import leases
from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.sources.cluster import Cluster
from supervisor.api import ReplicasSettings

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


class Edges:
    """Reads all edges."""

    def __init__(
        self, run_dir: Path, cluster: Cluster, replicas: ReplicasSettings | None = None
    ) -> None:
        self._run_dir = run_dir
        self._cluster = cluster
        self._replicas = replicas if replicas and replicas.enabled else None
        self._nodes: dict[str, NodeState] = {}
        self._holders: dict[str, str] = {}
        self.fault = ""
        """why what was read last is incomplete"""

    async def read(self) -> dict[str, Edge]:
        """Return all edges by name; what cannot be reached is as it was, and in `fault`."""
        faults = []
        sessions = await self.sessions()
        if sessions is None:
            faults.append("cloudhub does not answer")
        try:
            self._nodes = reduced(await self._cluster.list(NODES))
            self._holders = await self._read_holders()
        except KubeError as error:
            faults.append(str(error))
        self.fault = "; ".join(faults)
        return self.join(sessions, self._nodes)

    def join(
        self, sessions: dict[str, dict[str, Any]] | None, nodes: Mapping[str, NodeState]
    ) -> dict[str, Edge]:
        """Join sessions with Nodes, and with the replicas that hold them."""
        own = self._replicas.identity if self._replicas else ""
        return join(sessions, nodes, self._holders, own)

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

    async def _read_holders(self) -> dict[str, str]:
        """Return the replica that holds each node; nothing if this is the only cloudcore."""
        if self._replicas is None:
            return {}
        found = await self._cluster.list(
            LEASES,
            namespace=self._replicas.namespace,
            label_selector=f"{leases.LABEL}={leases.OF_NODE}",
        )
        return dict(_holders(found))


def hub_sockets(run_dir: Path) -> list[Path]:
    """Return the sockets of all processes of CloudHub."""
    return sorted((*run_dir.glob("cloudhub.sock"), *run_dir.glob("cloudhub-*.sock")))


def reduced(nodes: Iterable[Any]) -> dict[str, NodeState]:
    """Return what is shown of Nodes, by name."""
    found: dict[str, NodeState] = {}
    for node in nodes:
        metadata = node.get("metadata") or {}
        condition = _ready_condition(node)
        info = (node.get("status") or {}).get("nodeInfo") or {}
        found[str(metadata.get("name", ""))] = NodeState(
            is_edge=EDGE_LABEL in (metadata.get("labels") or {}),
            ready=condition.get("status") == "True",
            since=seconds(condition.get("lastTransitionTime")),
            why=str(condition.get("message") or condition.get("reason") or ""),
            version=str(info.get("kubeletVersion", "")),
        )
    return found


def join(
    sessions: dict[str, dict[str, Any]] | None,
    nodes: Mapping[str, NodeState],
    holders: Mapping[str, str] = {},
    own: str = "",
) -> dict[str, Edge]:
    """Join sessions with Nodes; a Node without session is an edge if its label says so.

    `holders` are the replicas that hold nodes, `own` is the name of this one.
    """
    found: dict[str, Edge] = {}
    for name, node in nodes.items():
        if node.is_edge or name in (sessions or {}):
            found[name] = _edge(name, node, sessions, holders.get(name, ""), own)
    for name in sessions or {}:
        if name not in found:
            found[name] = _edge(name, None, sessions, holders.get(name, ""), own)
    return found


def _edge(
    name: str,
    node: NodeState | None,
    sessions: dict[str, dict[str, Any]] | None,
    holder: str,
    own: str,
) -> Edge:
    row = (sessions or {}).get(name)
    if row is None and node and holder not in {"", own}:
        state, since, why = _state_elsewhere(node, holder)
    else:
        state, since, why = _state(node, row, known=sessions is not None)
    return Edge(
        name=name,
        state=state,
        since=since,
        why=why,
        connected=row["since"] if row else None,
        address=row["address"] if row else "",
        protocol=row["protocol"] if row else "",
        version=node.version if node else "",
        queue=row["queue_messages"] if row else 0,
        certificate=row["certificate"]["expires"] if row else None,
        process=row["process"] if row else "",
        replica=own if row else holder,
    )


def _state(
    node: NodeState | None, row: dict[str, Any] | None, *, known: bool
) -> tuple[str, float | None, str]:
    """Return an edge's state, since when, and why it is not ready."""
    if not known:
        return "unknown", node and node.since, _NO_HUB
    if row is None:
        assert node
        return (
            ("disconnected", None, _LEFT) if node.ready else ("disconnected", node.since, node.why)
        )
    if node is None:
        return "no node", row["since"], _NO_NODE
    if node.ready:
        return "ready", max(node.since or 0.0, row["since"]), ""
    return "not ready", node.since, node.why or _NO_REPORT


def _state_elsewhere(node: NodeState, replica: str) -> tuple[str, float | None, str]:
    """Return the state of an edge that another replica holds: its Node alone tells it here."""
    if node.ready:
        return "ready", node.since, ""
    return "not ready", node.since, node.why or f"{_NO_REPORT} to the replica {replica}"


def _holders(found: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for lease in found:
        try:
            holder = leases.read_node_lease(lease).holder
            yield leases.named(leases.OF_NODE, lease["metadata"]["name"]), holder
        except (BadObject, KeyError, TypeError):
            continue  # somebody has made it something else, which cloudhub sets aside


def _ready_condition(node: Any) -> dict[str, Any]:
    conditions = (node.get("status") or {}).get("conditions") or []
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

"""Which nodes this replica holds: the takeover protocol, as a state machine without I/O.

The truth is one Lease for each node: its holder is the replica that the node's edge dialed last, as
far as the API has been told, and its number of transitions grows each time the node changes hands.
A replica serves a node from the moment at which it knows that the Lease names it, until it sees a
later one that names another. Two replicas may believe for a while that they hold a node, since the
earlier one has not seen the change yet. That does no harm: an edge reads one connection, and the
record of what it has is fenced (modules/common/sync/object_syncs.py).

tests/modules/common/replicas/test_model.py has every interleaving of what can happen.
"""

from __future__ import annotations

from typing import NamedTuple


class NodeLease(NamedTuple):
    """What the Lease of a node says."""

    holder: str
    transitions: int
    version: str
    """the resourceVersion, which a write names as its precondition"""


class Claim(NamedTuple):
    """The write by which a node comes into these hands; without a version the Lease is created."""

    holder: str
    transitions: int
    version: str


class Holdings:
    """The node Leases that this replica knows of, and the nodes that it serves."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._leases: dict[str, NodeLease] = {}
        self._held: set[str] = set()

    def __contains__(self, node: str) -> bool:
        return node in self._held

    def __len__(self) -> int:
        return len(self._held)

    def holder(self, node: str) -> str:
        """Return the replica that holds a node, as far as it is known; empty if none does."""
        lease = self._leases.get(node)
        return lease.holder if lease else ""

    def held_by(self, replica: str) -> list[str]:
        """Return the nodes whose Lease names a replica."""
        return sorted(node for node, lease in self._leases.items() if lease.holder == replica)

    def dialed(self, node: str) -> Claim | None:
        """Return the claim to be written before a node's edge is served; None: it may be at once.

        That is so if the Lease names this replica. If another has taken the node since, the change
        is seen soon, and the edge dials once more.
        """
        lease = self._leases.get(node)
        if lease is None:
            return Claim(self.replica, 1, "")
        if lease.holder != self.replica:
            return Claim(self.replica, lease.transitions + 1, lease.version)
        self._held.add(node)
        return None

    def written(self, node: str, lease: NodeLease) -> None:
        """Hold a node: the API has accepted the claim."""
        self._learn(node, lease)
        self._held.add(node)

    def seen(self, node: str, lease: NodeLease | None) -> bool:
        """Learn what the API says of a node; whether the node has to be let go.

        None: it has no Lease. Without one a holder goes on, until another replica makes a new one.
        """
        if lease is None:
            self._leases.pop(node, None)
            return False
        self._learn(node, lease)
        if self.holder(node) != self.replica and node in self._held:
            self._held.discard(node)
            return True
        return False

    def left(self, node: str) -> None:
        """Note that a node has no session here any more; its Lease stays as it is."""
        self._held.discard(node)

    def _learn(self, node: str, lease: NodeLease) -> None:
        """Take a Lease for the newest known, unless it is older: answers and events may cross."""
        known = self._leases.get(node)
        if known is None or lease.transitions >= known.transitions:
            self._leases[node] = lease

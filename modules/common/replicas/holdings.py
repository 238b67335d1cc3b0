"""Which nodes this replica holds: the takeover protocol, as a state machine without I/O.

The truth is one Lease for each node: its holder is the replica that the node's edge dialed last, as
far as the API has been told, and its number of transitions grows each time the node changes hands.
A replica serves a node from the moment at which it knows that the Lease names it, until it sees a
later one that names another. Two replicas may believe for a while that they hold a node, since the
earlier one has not seen the change yet. That does no harm: an edge reads one connection, and the
record of what it has is fenced (modules/common/sync/object_syncs.py).

What the watch of the Leases shows is in order; the answers to claims and reads may come after later
events, or before earlier ones. So the number of transitions tells which is older, but only until
the watch has shown what an answer has said. From then on it counts whatever it shows: an API that
was restored from a backup has lower numbers. A holder goes on then, and claims its node anew.

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
        self._ahead: set[str] = set()
        """nodes whose Lease is known from an answer, which the watch has not shown yet"""

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

    def dialed(self, node: str, *, is_sure: bool = True) -> Claim | None:
        """Return the claim to be written before a node's edge is served; None: it may be at once.

        That is so if the Lease names this replica. If another has taken the node since, the change
        is seen soon, and the edge dials once more. If it would not be, as the watch is behind
        (`is_sure`), the Lease is written as it is: only who holds the node can do that.
        """
        lease = self._leases.get(node)
        if lease is None:
            return Claim(self.replica, 1, "")
        if lease.holder != self.replica:
            return Claim(self.replica, lease.transitions + 1, lease.version)
        if not is_sure:
            return Claim(self.replica, lease.transitions, lease.version)
        self._held.add(node)
        return None

    def written(self, node: str, lease: NodeLease) -> bool:
        """Hold a node: the API has accepted the claim. False if it is known to be taken since."""
        known = self._leases.get(node)
        if known is not None and lease.transitions < known.transitions:
            return False
        self._answered(node, lease)
        self._held.add(node)
        return True

    def read(self, node: str, lease: NodeLease | None, refused: Claim) -> None:
        """Learn what the API says of a node after it has refused a claim.

        The Lease that the claim was made for is not the present one, whatever their numbers.
        """
        known = self._leases.get(node)
        if lease is None:
            self.seen(node, None)
        elif (
            known is None
            or known.version == refused.version
            or lease.transitions >= known.transitions
        ):
            self._answered(node, lease)

    def seen(self, node: str, lease: NodeLease | None) -> bool:
        """Learn what the watch shows of a node; whether the node has to be let go.

        None: it has no Lease. Without one a holder goes on, until another replica makes a new one.
        """
        if lease is None:
            self._leases.pop(node, None)
            self._ahead.discard(node)
            return False
        known = self._leases.get(node)
        is_lower = known is not None and lease.transitions < known.transitions
        if is_lower and node in self._ahead:
            return False
        self._ahead.discard(node)
        self._leases[node] = lease
        if lease.holder != self.replica and node in self._held and not is_lower:
            self._held.discard(node)
            return True
        return False

    def is_to_be_claimed_anew(self, node: str) -> bool:
        """Whether a node is held of which the Lease names another replica: it was restored."""
        return node in self._held and self.holder(node) not in ("", self.replica)

    def left(self, node: str) -> None:
        """Note that a node has no session here any more; its Lease stays as it is."""
        self._held.discard(node)

    def _answered(self, node: str, lease: NodeLease) -> None:
        known = self._leases.get(node)
        if known is None or known.version != lease.version:
            self._leases[node] = lease
            self._ahead.add(node)

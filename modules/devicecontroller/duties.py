"""Which work of devices is this replica's, if there are several.

What a node's edge is sent, and the conditions of its devices, are the work of the replica to which
it is connected. What belongs to no connected node is that of the leader. Nobody says which nodes
are connected nowhere, so the leader looks after all that are not connected here, but later than the
replica that has the node would: it finds then that there is nothing to do.
"""

from __future__ import annotations

from enum import Enum, auto

from modules.common.replicas.election import Election
from modules.devicecontroller.edges import Edges


class Duty(Enum):
    """Whose work something is."""

    OURS = auto()
    OURS_IF_LEFT = auto()
    """if nobody has done it after a while"""
    OTHERS = auto()


class Duties:
    """What this replica does; a single cloudcore does everything."""

    def __init__(self, edges: Edges, election: Election | None = None) -> None:
        self._edges = edges
        self._election = election

    @property
    def leads(self) -> bool:
        """Whether work that belongs to no connected node is done here."""
        return self._election is None or self._election.leads

    def towards(self, node: str) -> Duty:
        """Return whose work the conditions of a node's devices are; the node may be empty."""
        if self._election is None or self._edges.are_connected(node):
            return Duty.OURS
        return Duty.OURS_IF_LEFT if self._election.leads else Duty.OTHERS

"""The edges as they are, polled for all viewers, and what has changed of them."""

from __future__ import annotations

from typing import Any, Final

from modules.dashboard.history import History
from modules.dashboard.live.conditions import Condition, Conditions
from modules.dashboard.live.pace import Pace
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.sources.edges import Edge, Edges

#: Seconds between two polls while somebody looks, and while nobody does.
_POLL: Final = 5.0
_IDLE_POLL: Final = 30.0


class EdgeBoard:
    """What is known of the edges at this moment."""

    def __init__(self, source: Edges, history: History, viewers: Viewers) -> None:
        self._source = source
        self._viewers = viewers
        self._conditions = Conditions("edge", history, viewers)
        self._pace = Pace(viewers, _POLL, _IDLE_POLL)
        self.edges: dict[str, Edge] = {}
        self._fault = ""
        """what viewers have been told of why this is incomplete"""

    @property
    def ready(self) -> int:
        """How many edges are ready."""
        return len(self.edges) - self._conditions.not_well

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self.compare(await self._source.read())
            await self._pace.pause()

    def snapshot(self) -> dict[str, Any]:
        """Return what a page that opens is sent first."""
        return {"all": list(self.edges.values()), "fault": self._source.fault}

    def summary(self) -> dict[str, Any]:
        """Return what the overview shows."""
        return {
            "total": len(self.edges),
            "ready": self.ready,
            "troubled": self._conditions.troubled,
            "fault": self._source.fault,
        }

    def compare(self, found: dict[str, Edge]) -> None:
        """Tell viewers of the edges that have changed, and record their changes of state."""
        former, self.edges = self.edges, found
        changed = [edge for name, edge in found.items() if former.get(name) != edge]
        removed = [name for name in former if name not in found]
        self._conditions.update(
            {
                name: Condition(edge.state, edge.state == "ready", edge.since, edge.why)
                for name, edge in found.items()
            }
        )
        told, self._fault = self._fault, self._source.fault
        if changed or removed or told != self._fault:
            document = {"changed": changed, "removed": removed, "fault": self._fault}
            self._viewers.publish("edges", document)

"""The edges as they are, polled for all viewers, and what has changed of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from modules.dashboard.history import Change, History
from modules.dashboard.live.pace import Pace
from modules.dashboard.live.viewers import Viewers, news
from modules.dashboard.sources.edges import Edge, Edges

#: Seconds between two polls while somebody looks, and while nobody does.
EDGES_POLL: Final = 5.0
_IDLE_POLL: Final = 30.0
#: Edges that are not ready which the overview names.
_NAMED: Final = 10


class EdgeBoard:
    """What is known of the edges at this moment."""

    def __init__(self, source: Edges, history: History, viewers: Viewers) -> None:
        self._source = source
        self._history = history
        self._viewers = viewers
        self._pace = Pace(viewers, EDGES_POLL, _IDLE_POLL)
        self.edges: dict[str, Edge] = {}
        self.ready = 0
        """how many of them are ready"""
        self._read = False
        self._troubled: list[dict[str, Any]] = []

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
            "troubled": self._troubled,
            "fault": self._source.fault,
            "read": self._read,
        }

    def compare(self, found: dict[str, Edge]) -> None:
        """Tell viewers of the edges that have changed, and record their changes of state."""
        former, self.edges = self.edges, found
        changed = [edge for name, edge in found.items() if former.get(name) != edge]
        removed = [name for name in former if name not in found]
        if self._read:  # what there was at the start has not changed
            changes = list(_changes(former, changed, removed))
            self._history.changes.extend(changes)
            if changes:
                self._viewers.publish("changes", news(changes))
        self._read = True
        self._summarize()
        if changed or removed:
            document = {"changed": changed, "removed": removed, "fault": self._source.fault}
            self._viewers.publish("edges", document)

    def _summarize(self) -> None:
        troubled = [edge for edge in self.edges.values() if edge.state != "ready"]
        noticed = self._history.last_changes("edge")
        since = {edge.name: edge.since or noticed.get(edge.name) for edge in troubled}
        troubled.sort(key=lambda edge: (-(since[edge.name] or 0.0), edge.name))
        self.ready = len(self.edges) - len(troubled)
        self._troubled = [
            {"name": edge.name, "state": edge.state, "since": since[edge.name], "why": edge.why}
            for edge in troubled[:_NAMED]
        ]


def _changes(
    former: dict[str, Edge], changed: Iterable[Edge], removed: Iterable[str]
) -> Iterable[Change]:
    now = time.time()
    for edge in changed:
        before = former.get(edge.name)
        if before is None or before.state != edge.state:
            old = before.state if before else "new"
            yield Change(now, "edge", edge.name, old, edge.state, edge.why)
    for name in removed:
        yield Change(now, "edge", name, former[name].state, "removed", "")

"""The conditions of all edges, or of all devices: their changes, and those that are not well."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

from modules.dashboard.history import Change, History
from modules.dashboard.live.viewers import Viewers, news

#: Edges, or devices, that are not well which the overview names.
_NAMED: Final = 10
#: Characters of a state and of a reason: edges write both, and a thousand changes are kept.
_LONGEST: Final = 400


class Condition(NamedTuple):
    """The condition of one edge or device."""

    state: str
    well: bool
    since: float | None
    """since when, in seconds since the epoch; None if neither Node nor device says so"""
    why: str

    def shortened(self) -> Self:
        return self._replace(state=self.state[:_LONGEST], why=self.why[:_LONGEST])


class Conditions:
    """The conditions as they were read last."""

    def __init__(self, kind: str, history: History, viewers: Viewers) -> None:
        """`kind` is that of the changes: edge or device."""
        self._kind = kind
        self._history = history
        self._viewers = viewers
        self._known: Mapping[str, Condition] | None = None
        self.not_well = 0
        self.troubled: list[dict[str, Any]] = []
        """those that are not well, the last change first: as many as the overview names"""

    def update(self, found: Mapping[str, Condition]) -> None:
        """Record the changes of state, by name, and tell viewers of them."""
        found = {name: each.shortened() for name, each in found.items()}
        former, self._known = self._known, found
        if former is not None:  # what there was at the start has not changed
            now = time.time()
            changes = list(self._changes(former, found, now))
            self._history.bring_back(now)
            self._history.changes.extend(changes)
            if changes:
                self._viewers.publish("changes", news(changes))
        self._summarize(found)

    def _changes(
        self, former: Mapping[str, Condition], found: Mapping[str, Condition], now: float
    ) -> Iterator[Change]:
        for name, (state, _, _, why) in found.items():
            before = former.get(name)
            if before is None or before.state != state:
                yield Change(now, self._kind, name, before.state if before else "new", state, why)
        for name in former:
            if name not in found:
                yield Change(now, self._kind, name, former[name].state, "removed", "")

    def _summarize(self, found: Mapping[str, Condition]) -> None:
        noticed = self._history.changed_at(self._kind)
        troubled: list[dict[str, Any]] = [
            {"name": name, "state": state, "since": since or noticed.get(name), "why": why}
            for name, (state, well, since, why) in found.items()
            if not well
        ]
        troubled.sort(key=lambda each: (-(each["since"] or 0.0), each["name"]))
        self.not_well = len(troubled)
        self.troubled = troubled[:_NAMED]

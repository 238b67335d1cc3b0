"""A heap of the times at which sessions have to be checked, instead of a timer for each."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from modules.cloudhub.session.session import Session


class Deadlines:
    """Times of the loop's clock, one per session in `sessions`; sessions that ended are dropped."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = sessions
        # Node names, not sessions: a session that is over must not stay in memory until then.
        self._times: list[tuple[float, int, str]] = []

    def add(self, at: float, session: Session) -> None:
        heapq.heappush(self._times, (at, session.serial, session.node))

    def due(self, now: float) -> list[Session]:
        """Remove and return the sessions whose time has come."""
        due = []
        while self._times and self._times[0][0] <= now:
            _, serial, node = heapq.heappop(self._times)
            session = self._sessions.get(node)
            if session is not None and session.serial == serial:
                due.append(session)
        return due

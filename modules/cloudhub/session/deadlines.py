"""When each session is to be looked at: an idle one needs no look for long."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from modules.cloudhub.session.session import Session


class Deadlines:
    """Times by the loop's clock, one for each session in `sessions`; who has left is forgotten."""

    def __init__(self, sessions: Mapping[str, Session]) -> None:
        self._sessions = sessions
        # No sessions themselves: one that is over is not to stay in memory until its time.
        self._times: list[tuple[float, int, str]] = []

    def add(self, at: float, session: Session) -> None:
        heapq.heappush(self._times, (at, session.serial, session.node))

    def due(self, now: float) -> list[Session]:
        """Take out those whose time has come."""
        due = []
        while self._times and self._times[0][0] <= now:
            _, serial, node = heapq.heappop(self._times)
            session = self._sessions.get(node)
            if session is not None and session.serial == serial:
                due.append(session)
        return due

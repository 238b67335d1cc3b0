"""Which session of which process is a node's: kept by the first of CloudHub's processes.

All that has to be decided once for all processes is decided here: whether a node may come
(node_limit), whose session it is when two are open, and in which order the controllers are told
of comings and goings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from modules.cloudhub.endpoint.identity import HandshakeRefused

CONNECTED: Final = "connected"
DISCONNECTED: Final = "disconnected"


@dataclass(frozen=True, slots=True)
class Holder:
    """A session: its process, by the name of its unit, and the time of its beginning.

    That is in nanoseconds of the monotonic clock, the same for all processes of a machine, and
    no two sessions of one process have the same.
    """

    unit: str
    serial: int


class Directory:
    """The holders of all nodes.

    `publish(node, operation)` tells the controllers; `evict(node, holder)` ends a session when
    there is a newer one.
    """

    def __init__(
        self,
        limit: int,
        *,
        publish: Callable[[str, str], None],
        evict: Callable[[str, Holder], None],
    ) -> None:
        self._limit = limit
        self._publish = publish
        self._evict = evict
        self._holders: dict[str, Holder] = {}
        self._enrolled: set[str] = set()

    def __len__(self) -> int:
        return len(self._holders)

    def holder(self, node: str) -> Holder | None:
        return self._holders.get(node)

    def check(self, node: str) -> None:
        """Raise HandshakeRefused if a node that is not connected would exceed the limit."""
        if node not in self._holders and len(self._holders) >= self._limit:
            raise HandshakeRefused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "limit",
                f"node {node!r} would be one more than node_limit = {self._limit} allows",
            )

    def claim(self, node: str, holder: Holder) -> None:
        """Let a session have the node, and end the older one; HandshakeRefused at the limit."""
        self.check(node)
        self._take(node, holder)

    def enroll(self, node: str, holder: Holder) -> None:
        """Note that the session has begun to speak: from now on the node is connected."""
        if self._holders.get(node) == holder and node not in self._enrolled:
            self._enrolled.add(node)
            self._publish(node, CONNECTED)

    def release(self, node: str, holder: Holder) -> None:
        """Note that the session is over; nothing happens if it had been replaced."""
        if self._holders.get(node) == holder:
            del self._holders[node]
            self._told_gone(node)

    def adopt(self, unit: str, sessions: Iterable[tuple[str, int, bool]]) -> None:
        """Take a process's word for what it holds: all its (node, serial, enrolled).

        They are not refused, whatever the limit: they have been let in before.
        """
        held = {node: (Holder(unit, serial), enrolled) for node, serial, enrolled in sessions}
        for node, holder in list(self._holders.items()):
            if holder.unit == unit and node not in held:
                self.release(node, holder)
        for node, (holder, enrolled) in held.items():
            if self._holders.get(node) != holder:
                self._take(node, holder)
            if enrolled:
                self.enroll(node, holder)

    def _take(self, node: str, holder: Holder) -> None:
        other = self._holders.get(node)
        if other == holder:
            return
        if other is not None and other.serial > holder.serial:
            self._evict(node, holder)
            return
        self._holders[node] = holder
        if other is not None:
            self._told_gone(node)
            self._evict(node, other)

    def _told_gone(self, node: str) -> None:
        if node in self._enrolled:
            self._enrolled.remove(node)
            self._publish(node, DISCONNECTED)

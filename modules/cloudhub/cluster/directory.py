"""Which session of which process holds a node; kept by the leader.

Everything that has to be decided once for all processes is decided here: whether another node may
connect (node_limit), which session holds a node when two are open, and in which order the
controllers get `connected` and `disconnected`.
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
    """A session: the unit name of its process, and its serial.

    The serial is the session's start in nanoseconds of the monotonic clock, which is the same for
    all processes of a machine; it is unique within a process.
    """

    unit: str
    serial: int


class Directory:
    """The holders of all nodes.

    `publish(node, operation, generation)` notifies the controllers; `evict(node, holder)` ends a
    session that a newer one replaces.
    """

    def __init__(
        self,
        limit: int,
        *,
        publish: Callable[[str, str, str], None],
        evict: Callable[[str, Holder], None],
    ) -> None:
        self._limit = limit
        self._publish = publish
        self._evict = evict
        self._holders: dict[str, Holder] = {}
        self._generations: dict[str, str] = {}
        """protocol generation of each node that is enrolled"""

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
        """Grant the node to a session, and evict the older one; HandshakeRefused at the limit."""
        self.check(node)
        self._assign(node, holder)

    def enroll(self, node: str, holder: Holder, generation: str) -> None:
        """Record that the session has been enrolled: its node is connected from now on."""
        if self._holders.get(node) == holder and node not in self._generations:
            self._generations[node] = generation
            self._publish(node, CONNECTED, generation)

    def release(self, node: str, holder: Holder) -> None:
        """Record that the session is over; no effect if it has been replaced."""
        if self._holders.get(node) == holder:
            del self._holders[node]
            self._publish_disconnected(node)

    def adopt(self, unit: str, sessions: Iterable[tuple[str, int, str]]) -> list[str]:
        """Record what a process holds: (node, serial, generation) of all its sessions.

        The limit does not apply: these sessions were granted before. Return the nodes that the
        process was known to hold, and does not.
        """
        held = {node: (Holder(unit, serial), generation) for node, serial, generation in sessions}
        gone = [
            (node, holder)
            for node, holder in self._holders.items()
            if holder.unit == unit and node not in held
        ]
        for node, holder in gone:
            self.release(node, holder)
        for node, (holder, generation) in held.items():
            if self._holders.get(node) != holder:
                self._assign(node, holder)
            if generation:
                self.enroll(node, holder, generation)
        return [node for node, _ in gone]

    def _assign(self, node: str, holder: Holder) -> None:
        other = self._holders.get(node)
        if other == holder:
            return
        if other is not None and other.serial > holder.serial:
            self._evict(node, holder)
            return
        self._holders[node] = holder
        if other is not None:
            self._publish_disconnected(node)
            self._evict(node, other)

    def _publish_disconnected(self, node: str) -> None:
        if generation := self._generations.pop(node, ""):
            self._publish(node, DISCONNECTED, generation)

"""What a session needs of those around it: its connection, the hub, and the routing of messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from picows import WSCloseCode

from ipc import Message
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.metrics import HubStatistics
from modules.cloudhub.replicas.suspension import Suspension

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)


class Connection(Protocol):
    """An edge's connection, as far as its session is concerned."""

    def write(self, messages: Iterable[bytes], *, text: bool) -> None:
        """Write websocket messages, of text or binary; never blocks."""

    def coalesce_acks(self) -> None:
        """Expect only an acknowledgement of what was written, which is not urgent."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def close(self, code: WSCloseCode, reason: str) -> None:
        """Tell the edge why, and close once it has answered."""

    def abort(self) -> None:
        """Close at once."""


class EdgeMessages(Protocol[S_contra]):
    """Where the messages of edges go; both methods may call `pause_reading` of the session."""

    def receive(self, message: Message, session: S_contra) -> None:
        """Pass on a message of an edge."""

    def answer(self, message: Message, session: S_contra | None = None) -> None:
        """Pass on an answer to the module that asked."""


class SessionOwner(Protocol[S]):
    """What a session needs of the hub."""

    config: CloudHubConfig
    statistics: HubStatistics
    message_time: float
    """seconds between two messages at the rate limit; 0 if there is no limit"""
    burst_time: float
    """seconds that a burst takes at the rate limit"""
    suspension: Suspension | None
    """with several replicas: whether this process was stopped for too long"""
    slow: set[S]
    """the sessions whose writing is paused, because the edge reads too slowly"""

    @property
    def upstream(self) -> EdgeMessages[S]: ...
    def opened(self, session: S) -> None: ...
    def enrolled(self, session: S) -> None: ...
    def ended(self, session: S, cause: str, reason: str) -> None: ...

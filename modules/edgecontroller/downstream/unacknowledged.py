"""What has been sent to nodes and not been acknowledged yet, and when it is sent again.

An edge of v1.1 keeps its connection or loses all, so what was sent to it is not sent again while it
is connected. Edges of today acknowledge each message, and KubeEdge's cloud sends it again after 5 s
(cloud/pkg/cloudhub/session/node_session.go). So do we, but with one object's messages delaying no
other's: each node has a window of messages in flight, from which a message is taken out when it
has not been acknowledged in time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from modules.common.sync.journal import Item
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.metrics import MESSAGES_RESENT

log = logging.getLogger(__name__)

#: Seconds in which a node acknowledges a message, and the longest until it is sent again.
RESEND: Final = 5.0
LONGEST: Final = 60.0

#: Limit of messages in flight to one node: its answers never wait behind more than these.
WINDOW: Final = 32


class Sent(NamedTuple):
    """A message that a node has not acknowledged yet."""

    message_id: str
    #: What the node has afterwards; None if the message deletes the object.
    content: Any
    version: str
    #: An insert that the node ignores if it has an object of that name.
    doubtful: bool = False


@dataclass(slots=True)
class _Entry:
    sent: Sent
    #: How often the object has been sent in vain before.
    attempts: int = 0
    in_window: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def pause(self) -> float:
        """Seconds until it is sent again."""
        return float(min(RESEND * 2**self.attempts, LONGEST))


class Unacknowledged:
    """The last message about each object to each node, until it is acknowledged."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._entries: defaultdict[str, dict[Item, _Entry]] = defaultdict(dict)
        self._in_window: defaultdict[str, int] = defaultdict(int)
        #: What each node has not acknowledged in time; the first and the last of it are logged.
        self._late: defaultdict[str, set[Item]] = defaultdict(set)
        state.due.room = self.room

    def room(self, node: str) -> int:
        """Return how many more messages a node takes now."""
        if self._state.generations.get(node) != V1_23:
            return sys.maxsize
        return WINDOW - self._in_window.get(node, 0)

    def add(self, target: Target, sent: Sent) -> None:
        """Note a message that is being sent; it replaces an earlier one about the object."""
        entry = _Entry(sent)
        if self._state.generations.get(target.node) == V1_23:
            before = self._remove(target)
            if before is not None:
                entry.attempts = before.attempts + (not before.in_window)
                MESSAGES_RESENT.inc(not before.in_window)
            self._in_window[target.node] += 1
            entry.in_window = True
            loop = asyncio.get_running_loop()
            entry.timer = loop.call_later(RESEND, self._was_late, target, entry)
        self._entries[target.node][target.item] = entry

    def get(self, target: Target) -> Sent | None:
        entry = self._entries.get(target.node, {}).get(target.item)
        return entry.sent if entry else None

    def remove(self, target: Target) -> None:
        """Forget a message: it has been acknowledged or refused, or could not be sent."""
        self._remove(target)
        late = self._late.get(target.node)
        if late and target.item in late:
            late.discard(target.item)
            if not late:
                del self._late[target.node]
                log.info("node %s: has answered all that was sent again", target.node)

    def any_of(self, node: str, type: str) -> bool:  # noqa: A002 - KubeEdge's word
        """Whether a message about an object of a type is in flight to a node."""
        return any(type_ == type for type_, *_ in self._entries.get(node, ()))

    def forget(self, node: str) -> None:
        """Forget all messages to a node: its connection has ended."""
        for entry in self._entries.pop(node, {}).values():
            if entry.timer:
                entry.timer.cancel()
        self._in_window.pop(node, None)
        self._late.pop(node, None)
        self._state.due.resume(node)

    def _remove(self, target: Target) -> _Entry | None:
        entries = self._entries.get(target.node)
        entry = entries.pop(target.item, None) if entries else None
        if entry is None:
            return None
        if not entries:
            del self._entries[target.node]
        if entry.timer:
            entry.timer.cancel()
        self._leave_window(target.node, entry)
        return entry

    def _leave_window(self, node: str, entry: _Entry) -> None:
        if entry.in_window:
            entry.in_window = False
            self._in_window[node] -= 1
            if not self._in_window[node]:
                del self._in_window[node]
            self._state.due.resume(node)

    def _was_late(self, target: Target, entry: _Entry) -> None:
        """Make room for others, and have the object's present state sent when it is time."""
        self._leave_window(target.node, entry)
        late = self._late[target.node]
        if not late:
            what = "/".join(target.item)
            log.warning(
                "node %s: has not acknowledged %s in %g s; sent again until it does",
                target.node,
                what,
                RESEND,
            )
        late.add(target.item)
        loop = asyncio.get_running_loop()
        entry.timer = loop.call_later(entry.pause - RESEND, self._state.due.mark, target)

"""What has been sent to nodes and not been acknowledged yet.

An edge of v1.1 keeps its connection or loses all, so what was sent to it is not sent again while it
is connected. Edges of today have a window each (modules/common/sync/window.py).
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from functools import partial
from typing import Any, NamedTuple

from modules.common.sync import window
from modules.common.sync.journal import Item
from modules.common.sync.window import Window
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.metrics import MESSAGES_RESENT

log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """A message that a node has not acknowledged yet."""

    message_id: str
    #: What the node has afterwards; None if the message deletes the object.
    content: Any
    version: str
    #: An insert that the node ignores if it has an object of that name.
    doubtful: bool = False


class Unacknowledged:
    """The last message about each object to each node, until it is acknowledged."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._windows: dict[str, Window[Sent]] = {}
        #: What each node has not acknowledged in time; the first and the last of it are logged.
        self._late: defaultdict[str, set[Item]] = defaultdict(set)
        state.due.room = self.room

    def room(self, node: str) -> int:
        """Return how many more messages a node takes now."""
        if not self._state.is_of_today(node):
            return sys.maxsize
        known = self._windows.get(node)
        return known.room if known else window.WINDOW

    def add(self, target: Target, sent: Sent) -> None:
        """Note a message that is being sent; it replaces an earlier one about the object."""
        node = target.node
        if node not in self._windows:
            self._windows[node] = Window(
                partial(self._resend, node),
                on_late=partial(self._was_late, node),
                on_room=partial(self._state.due.resume, node),
            )
        if not self._state.is_of_today(node):
            self._windows[node].add_untimed(target.item, sent)
        elif self._windows[node].add(target.item, sent):
            MESSAGES_RESENT.inc()

    def get(self, target: Target) -> Sent | None:
        known = self._windows.get(target.node)
        return known.get(target.item) if known else None

    def remove(self, target: Target) -> None:
        """Forget a message: it has been acknowledged or refused, or could not be sent."""
        known = self._windows.get(target.node)
        if known is not None:
            known.remove(target.item)
            if not known:
                del self._windows[target.node]
        late = self._late.get(target.node)
        if late and target.item in late:
            late.discard(target.item)
            if not late:
                del self._late[target.node]
                log.info("node %s: has answered all that was sent again", target.node)

    def any_of(self, node: str, type: str) -> bool:  # noqa: A002 - KubeEdge's word
        """Whether a message about an object of a type is in flight to a node."""
        return any(type_ == type for type_, *_ in self._windows.get(node, ()))

    def forget(self, node: str) -> None:
        """Forget all messages to a node: its connection has ended."""
        if known := self._windows.pop(node, None):
            known.stop()
        self._late.pop(node, None)
        self._state.due.resume(node)

    def _resend(self, node: str, item: Item) -> None:
        self._state.due.mark(Target(node, *item))

    def _was_late(self, node: str, item: Item) -> None:
        late = self._late[node]
        if not late:
            log.warning(
                "node %s: has not acknowledged %s in %g s; sent again until it does",
                node,
                "/".join(item),
                window.RESEND,
            )
        late.add(item)

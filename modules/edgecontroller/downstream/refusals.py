"""Retries of what nodes could not store, with exponential backoff.

An edge of v1.1 writes to SQLite through one object of its ORM, which its device twins use for their
transactions at the same time (edge/pkg/common/dbm). A write during such a transaction can fail,
most often when an edge has just connected and gets its pods and its devices. Then metaManager
answers `error`, and forgets the message. For members of a list it answers OK all the same, so the
lists are sent again too when anything else has failed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from modules.common.kube.backoff import Backoff
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import (
    LISTED,
    State,
    list_target,
)
from modules.edgecontroller.metrics import MESSAGES_REFUSED

#: Backoff of the retries in seconds.
_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 60.0

log = logging.getLogger(__name__)


@dataclass
class _Node:
    """The targets that a node has refused and not acknowledged since, in FIFO order."""

    unkept: dict[Target, None] = field(default_factory=dict)
    pauses: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, _LAST_PAUSE))
    timer: asyncio.TimerHandle | None = None


class Refusals:
    """Makes targets due again that nodes have refused."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._nodes: dict[str, _Node] = {}

    def refused(self, target: Target, reason: str) -> None:
        """Schedule a retry of a target that a node could not store or delete."""
        MESSAGES_REFUSED.inc()
        node = self._nodes.setdefault(target.node, _Node())
        if target not in node.unkept:
            log.warning("%s: the node answers %r; it is sent again", target.resource, reason)
            node.unkept[target] = None
        if node.timer is None:
            loop = asyncio.get_running_loop()
            node.timer = loop.call_later(node.pauses.next(), self._resend, node, target.node)

    def acknowledged(self, target: Target) -> None:
        """Forget the refusal of a target that a node has acknowledged."""
        node = self._nodes.get(target.node)
        if node is None:
            return
        if target in node.unkept:
            del node.unkept[target]
            if not node.unkept:
                log.info(
                    "node %s: in sync again, it has stored all that was sent again", target.node
                )
        if not node.unkept and node.timer is None:
            del self._nodes[target.node]

    def disconnected(self, name: str) -> None:
        """Forget the refusals of a node, which is sent everything when it connects."""
        node = self._nodes.pop(name, None)
        if node and node.timer:
            node.timer.cancel()

    def _resend(self, node: _Node, name: str) -> None:
        node.timer = None
        for target in (*node.unkept, *(list_target(name, type_) for type_ in LISTED)):
            self._state.due.mark(target)
        if not node.unkept:
            del self._nodes[name]

"""What nodes could not keep: they are told it again after a pause.

An edge of v1.1 writes what it gets into SQLite by way of one object of its ORM, which its device
twins use for their transactions at the same time (edge/pkg/common/dbm). A write that falls into
one can fail, as when an edge has just connected and is told of its pods and of its devices; then
metaManager answers `error`, and forgets the message. For what is in a list it says OK all the
same, so that the lists are told again too when anything else has failed.
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

#: Seconds until a node is told again, doubled each time that it fails.
_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 60.0

log = logging.getLogger(__name__)


@dataclass
class _Node:
    """The targets that a node has refused and not acknowledged since, in their order."""

    unkept: dict[Target, None] = field(default_factory=dict)
    pauses: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, _LAST_PAUSE))
    timer: asyncio.TimerHandle | None = None


class Refusals:
    """Makes due again what nodes have refused."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._nodes: dict[str, _Node] = {}

    def refused(self, target: Target, reason: str) -> None:
        """Take note that a node could not keep what it was told, nor do as it was told."""
        MESSAGES_REFUSED.inc()
        node = self._nodes.setdefault(target.node, _Node())
        if target not in node.unkept:
            log.warning(f"{target.resource}: the node says {reason!r}; it is told again")
            node.unkept[target] = None
        if node.timer is None:
            loop = asyncio.get_running_loop()
            node.timer = loop.call_later(node.pauses.next(), self._tell_again, node, target.node)

    def acknowledged(self, target: Target) -> None:
        """Take note that a node has done as it was told."""
        node = self._nodes.get(target.node)
        if node is None:
            return
        if target in node.unkept:
            del node.unkept[target]
            if not node.unkept:
                log.info(f"node {target.node} is in step again: it has kept all it was told again")
        if not node.unkept and node.timer is None:
            del self._nodes[target.node]

    def disconnected(self, name: str) -> None:
        """Drop what a node has refused: it is told everything when it connects."""
        node = self._nodes.pop(name, None)
        if node and node.timer:
            node.timer.cancel()

    def _tell_again(self, node: _Node, name: str) -> None:
        node.timer = None
        for target in (*node.unkept, *(list_target(name, type_) for type_ in LISTED)):
            self._state.due.mark(target)
        if not node.unkept:
            del self._nodes[name]

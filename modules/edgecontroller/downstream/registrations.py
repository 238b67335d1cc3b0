"""Registrations of nodes, by which edges of today show whether they have lost their database.

A kubelet that starts inserts its Node. If there is one (409), edgecore up to KubeEdge 1.22 reads it
from the cloud, so that nothing shows whether its database is a new one: everything is sent again
with each insert, of which there is one for each start of edgecore.

From 1.23 on (its resource is `null/node/NODE`) it reads its Node from its own database, and if
there is none, inserts once more, 100 ms later. Then the database is a new one: the node is sent
everything again, its Node too, without which it would go on for ever. So its Node is not sent to a
node that may be starting: not for a while after it has connected, nor after an insert. If it has
been sent its Node on the same connection before the first insert, that it has one shows nothing,
and everything is sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from modules.common.log_limit import LogLimit
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State, node_item
from modules.edgecontroller.messages import NULL_NAMESPACE

#: Seconds within which a kubelet that starts inserts its Node, and inserts it once more. After an
#: outage, a node learns that long after it has connected that it is not Ready any more.
HOLD: Final = 15.0
SETTLE: Final = 3.0

log = logging.getLogger(__name__)


class Registrations:
    """Notes each node's inserts of its Node on its present connection."""

    def __init__(self, state: State, on_loss: Callable[[str], None] = lambda _: None) -> None:
        """Set up; `on_loss` is called with a node that is sent everything again."""
        self._state = state
        self._on_loss = on_loss
        self._log = LogLimit(log)
        #: How many inserts have found a Node.
        self._found: dict[str, int] = {}
        #: Nodes that have been sent everything again.
        self._repaired: set[str] = set()

    def connected(self, node: str) -> None:
        """Begin anew: nothing is known of a node's database."""
        self._found.pop(node, None)
        self._repaired.discard(node)
        self._state.sent_own_node.discard(node)
        self._state.node_held_until[node] = time.monotonic() + HOLD

    def forget(self, node: str) -> None:
        """Forget a node that is gone."""
        self._found.pop(node, None)
        self._repaired.discard(node)

    def registered(self, node: str, namespace: str, *, exists: bool) -> bool:
        """Handle an insert, which is to be answered: `exists` if there was a Node.

        `namespace` is that of its resource. Returns whether the node's database may be empty.
        """
        if namespace == NULL_NAMESPACE and not self._shows_a_loss(node, exists):
            return False
        if node not in self._repaired:
            text = f"node {node}: is sent everything, for its database may be empty"
            self._log.put(node, logging.INFO, text)
            if namespace == NULL_NAMESPACE:
                self._repaired.add(node)  # it may insert more often until it has its Node
            self._state.record.forget_seen(node)
            self._state.mark_all(node)
            self._on_loss(node)
        return True

    def patches_its_node(self, node: str, namespace: str) -> None:
        """Note that a node has its Node: its kubelet patches it."""
        if namespace == NULL_NAMESPACE:
            self._release(node)
            self._reads_its_node(node)

    def changed(self, node: str) -> None:
        """Send a node its Node, which has changed, if it keeps it."""
        self._push(node)

    def _shows_a_loss(self, node: str, exists: bool) -> bool:
        """Whether an insert of an edge from 1.23 on shows that its database may be empty."""
        if not exists:
            self._release(node)  # the answer has its Node, a new one
            self._reads_its_node(node)
            return False
        found = self._found[node] = self._found.get(node, 0) + 1
        if found == 1 and node not in self._state.sent_own_node:
            self._state.node_held_until[node] = time.monotonic() + SETTLE
            self._state.reads_own_node.add(node)
            self._push(node, unless_seen=True)
            return False
        self._state.reads_own_node.add(node)
        self._release(node)
        return True

    def _release(self, node: str) -> None:
        if self._state.node_held_until.pop(node, 0.0) > time.monotonic():
            self._push(node, unless_seen=True)

    def _reads_its_node(self, node: str) -> None:
        """Send a node its Node from now on."""
        if node not in self._state.reads_own_node:
            self._state.reads_own_node.add(node)
            self._push(node, unless_seen=True)

    def _push(self, node: str, *, unless_seen: bool = False) -> None:
        if self._state.live and node in self._state.reads_own_node:
            self._state.due.mark(Target(node, *node_item(node)), unless_seen=unless_seen)

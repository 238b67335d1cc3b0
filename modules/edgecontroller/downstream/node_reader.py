"""Reading whole Nodes from the API for the edges that are to get theirs.

The cache has only a part of each Node, of which most is images. A Node is sent seldom: when anybody
but its kubelet has changed it, and to a node with a new database.
"""

from __future__ import annotations

import time
from typing import Final

from modules.common.kube import NODES, KubeClient, KubeError, NotFound, SetAside, Subject
from modules.common.sync.keyed_queue import KeyedQueue
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State, node_item
from modules.edgecontroller.objects import keep, usable

#: Nodes read at a time.
_WORKERS: Final = 4


class NodeReader:
    """Reads Nodes, and makes each due to its node."""

    def __init__(self, client: KubeClient, state: State, set_aside: SetAside) -> None:
        self._client = client
        self._state = state
        self._set_aside = set_aside
        self._queue: KeyedQueue[str] = KeyedQueue(self._read, KubeError, self._put_aside)

    def add(self, node: str) -> None:
        """Have a node's Node read and sent, as soon as the node may be sent it."""
        pause = self._state.node_held_until.get(node, 0.0) - time.monotonic()
        if pause > 0:
            self._queue.discard_later(node)  # that may be sooner than it was
            self._queue.add_later(node, pause)
        else:
            self._queue.add(node)

    async def run(self) -> None:
        """Read until cancelled."""
        await self._queue.run(_WORKERS)

    async def _read(self, node: str) -> None:
        if self._state.node_held_until.get(node, 0.0) > time.monotonic():
            self.add(node)  # it has connected anew
            return
        target = Target(node, *node_item(node))
        before = self._state.version(target)
        try:
            found = await self._client.get(NODES, node)
        except NotFound:
            return
        if self._state.version(target) != before:
            self._queue.add(node)  # it has changed meanwhile: what was read may be older
            return
        self._state.whole_nodes[node] = keep(usable(NODES, found))
        self._state.due.mark(target)

    def _put_aside(self, node: str, error: Exception) -> None:
        self._set_aside.put(Subject.of(NODES, {"metadata": {"name": node}}), error)

"""The set of objects that are due to nodes, in FIFO order.

A target names an object, not a change of it (it is level-triggered). What is sent is decided when
its turn comes, from the state in the API then. So later states replace earlier ones, and memory is
bounded by the number of objects, however long cloudhub is down.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from modules.common import message_resource
from modules.common.kube import Object
from modules.common.sync.journal import Item


class Target(NamedTuple):
    """An object or a list, and the node it is due to."""

    node: str
    type: str
    namespace: str
    name: str

    @property
    def item(self) -> Item:
        return self.type, self.namespace, self.name

    @property
    def resource(self) -> str:
        return message_resource.build(self.node, self.namespace, self.type, self.name)


class Pending(NamedTuple):
    """How to send a target.

    `fresh`: the API has just created the object, so no node can have one of its name. `last` is
    its last state before it was deleted. `unless_seen`: do not send a state that the node has
    acknowledged.
    """

    fresh: bool = False
    last: Object | None = None
    unless_seen: bool = False
    #: When it became due, by the monotonic clock.
    since: float = 0.0


class DueSet:
    """The targets that are due, each once: one FIFO queue per node, and the nodes take turns.

    A node that has no room is parked, so it delays no other one; `resume` gives it a turn again.
    """

    def __init__(self, room: Callable[[str], int] = lambda _: sys.maxsize) -> None:
        """Set up; `room` returns how many more targets a node takes now."""
        self.room = room
        self._queues: dict[str, dict[Target, Pending]] = {}
        #: The nodes with targets that are not parked, the next one first.
        self._turns: dict[str, None] = {}
        self._length = 0
        #: The number of targets by node and type.
        self._counts: Counter[tuple[str, str]] = Counter()
        self._filled: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return self._length

    def mark(
        self,
        target: Target,
        *,
        fresh: bool = False,
        last: Object | None = None,
        unless_seen: bool = False,
    ) -> None:
        """Make a target due; one that is due already keeps its place."""
        queue = self._queues.get(target.node)
        if queue is None:
            queue = self._queues[target.node] = {}
            self._turns[target.node] = None
        before = queue.get(target)
        since = before.since if before else time.monotonic()
        if before:
            fresh = fresh or before.fresh
            last = last or before.last
            fresh = fresh and last is None  # a node may have the object that it replaces
            unless_seen = unless_seen and before.unless_seen
        else:
            self._counts[target.node, target.type] += 1
            self._length += 1
        queue[target] = Pending(fresh, last, unless_seen, since)
        self._wake()

    def resume(self, node: str) -> None:
        """Give a node that was parked a turn: it has room again."""
        if node in self._queues:
            self._turns[node] = None
            self._wake()

    def has(self, node: str, type: str) -> bool:  # noqa: A002 - KubeEdge's word
        """Whether anything of a type is due to a node."""
        return (node, type) in self._counts

    async def batch(self, size: int) -> list[tuple[Target, Pending]]:
        """Wait for targets and return up to `size`, each node's oldest first.

        They stay due until `settle`, which is to be called for all before the next batch.
        """
        while not (batch := self._next_batch(size)):
            self._filled = asyncio.get_running_loop().create_future()
            await self._filled
        return batch

    def settle(self, target: Target, pending: Pending) -> None:
        """Remove a target, unless it has been marked again since it was returned."""
        queue = self._queues.get(target.node, {})
        if queue.get(target) is not pending:
            return
        del queue[target]
        self._length -= 1
        if not queue:
            del self._queues[target.node]
            self._turns.pop(target.node, None)
        kind = target.node, target.type
        self._counts[kind] -= 1
        if not self._counts[kind]:
            del self._counts[kind]

    def _next_batch(self, size: int) -> list[tuple[Target, Pending]]:
        """Take a share of each node's targets; nodes without room are parked."""
        taken: list[tuple[Target, Pending]] = []
        while self._turns and not taken:
            share = max(1, size // len(self._turns))
            for node in list(islice(self._turns, size)):
                del self._turns[node]
                room = self.room(node)
                if room > 0:
                    self._turns[node] = None
                    taken += islice(self._queues[node].items(), min(share, room))
        return taken

    def _wake(self) -> None:
        if self._filled and not self._filled.done():
            self._filled.set_result(None)

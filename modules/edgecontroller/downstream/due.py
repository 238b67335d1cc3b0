"""The set of objects that are due to nodes, in FIFO order.

A target names an object, not a change of it (it is level-triggered). What is sent is decided when
its turn comes, from the state in the API then. So later states replace earlier ones, and memory is
bounded by the number of objects, however long cloudhub is down.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import islice
from typing import NamedTuple

from modules.common import message_resource
from modules.common.kube import Object
from modules.edgecontroller.downstream.references import Item


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
    """The targets that are due, each once."""

    def __init__(self) -> None:
        self._pending: dict[Target, Pending] = {}
        #: The number of them by node and type.
        self._counts: Counter[tuple[str, str]] = Counter()
        self._filled: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def mark(
        self,
        target: Target,
        *,
        fresh: bool = False,
        last: Object | None = None,
        unless_seen: bool = False,
    ) -> None:
        """Make a target due; one that is due already keeps its place."""
        before = self._pending.get(target)
        since = before.since if before else time.monotonic()
        if before:
            fresh = fresh or before.fresh
            last = last or before.last
            fresh = fresh and last is None  # a node may have the object that it replaces
            unless_seen = unless_seen and before.unless_seen
        else:
            self._counts[target.node, target.type] += 1
        self._pending[target] = Pending(fresh, last, unless_seen, since)
        if self._filled and not self._filled.done():
            self._filled.set_result(None)

    def has(self, node: str, type: str) -> bool:  # noqa: A002 - KubeEdge's word
        """Whether anything of a type is due to a node."""
        return (node, type) in self._counts

    async def batch(self, size: int) -> list[tuple[Target, Pending]]:
        """Wait for targets and return the oldest `size`; they stay due until `settle`."""
        while not self._pending:
            self._filled = asyncio.get_running_loop().create_future()
            await self._filled
        return list(islice(self._pending.items(), size))

    def settle(self, target: Target, pending: Pending) -> None:
        """Remove a target, unless it has been marked again since it was returned."""
        if self._pending.get(target) is not pending:
            return
        del self._pending[target]
        kind = target.node, target.type
        self._counts[kind] -= 1
        if not self._counts[kind]:
            del self._counts[kind]

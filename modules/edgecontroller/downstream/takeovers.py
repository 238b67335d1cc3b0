"""Nodes that come to this replica from another one: served once their record has been read.

The record is that of ObjectSyncs, with the fences that several writers need.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from modules.common.failure_log import FailureLog
from modules.common.kube import KubeClient, KubeError, retry
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.journal import Item
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import KEPT_BY_NODES, NODE
from modules.edgecontroller.objects import RESOURCES

#: Nodes whose records are read at the same time.
_AT_ONCE: Final = 32
#: Seconds until the next attempt if the API refuses to show a record.
_AGAIN: Final = 10.0

log = logging.getLogger(__name__)


class Takeovers:
    """Reads the records of nodes that connect, and keeps those of nodes that are connected."""

    def __init__(
        self,
        client: KubeClient,
        state: State,
        namespace: str | None,
        on_foreign: Callable[[str, Item], None],
    ) -> None:
        """Set up; `on_foreign` gets a node and an item of which the record is not sure any more."""
        self._client = client
        self._state = state
        self._namespace = namespace
        kinds = {type_: RESOURCES[type_] for type_ in (*KEPT_BY_NODES, NODE)}
        self._syncs = FencedObjectSyncs(client, state.record, kinds, self._is_of_today, on_foreign)
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._failures = FailureLog(log, logging.ERROR)

    def __len__(self) -> int:
        """Return the number of ObjectSyncs that are to be written."""
        return len(self._syncs)

    async def open(self) -> None:
        """Label ObjectSyncs from before there were replicas, so that they can be listed by node."""
        try:
            await retry(lambda: self._syncs.label_all(self._namespace), self._client.health)
        except KubeError as error:
            text = f"cannot label the ObjectSyncs of a time without replicas: {error}; {error.hint}"
            self._failures.failed("label", type(error).__name__, text)
        self._state.record.keep_in(self._syncs)

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._syncs.run())
                tasks.create_task(self._retry_after_outages())
        finally:
            self._syncs.stop()
            for task in self._loading.values():
                task.cancel()

    def begin(self, node: str, then: Callable[[], None]) -> None:
        """Read the record of a node that has connected, and call `then`."""
        self.give_up(node)
        self._loading[node] = asyncio.create_task(self._load(node, then))

    def give_up(self, node: str) -> None:
        """Note that a node has gone, maybe before its record was read."""
        if task := self._loading.pop(node, None):
            task.cancel()

    async def weaken(self, rows: Iterable[tuple[str, Item]]) -> set[str]:
        """Write what has to be written before messages about these rows are sent.

        Returns the nodes for which that has not worked in time.
        """
        return await self._syncs.weaken(rows)

    async def _load(self, node: str, then: Callable[[], None]) -> None:
        while True:
            try:
                async with self._room:
                    await retry(
                        lambda: self._syncs.load_node(node, self._namespace),
                        self._client.health,
                    )
                break
            except KubeError as error:
                text = f"cannot read what nodes have: {error}; {error.hint}"
                self._failures.failed("", type(error).__name__, text)
                await asyncio.sleep(_AGAIN)
        self._failures.worked("", "what nodes have can be read again")
        del self._loading[node]
        then()

    async def _retry_after_outages(self) -> None:
        while True:
            await self._client.health.recovered()
            self._syncs.retry_now()

    def _is_of_today(self, node: str) -> bool:
        return self._state.generations.get(node) == V1_23

"""Nodes that come to this replica from another one: served once their record has been read.

The record is that of ObjectSyncs, with the fences that several writers need. What this replica
knows of a node that has gone is forgotten after a while: another one writes it then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Final

from modules.common.failure_log import FailureLog
from modules.common.kube import (
    BadRequest,
    Invalid,
    KubeClient,
    KubeError,
    retry_listing,
)
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.journal import Item, Row
from modules.common.sync.record import EVERY_NODE, Record

#: Nodes whose records are read at the same time, and rows that are written at the same time.
_AT_ONCE: Final = 32
#: Seconds until the next attempt if the API refuses to show a record.
_AGAIN: Final = 10.0
#: Seconds for which the record of a node that has gone is kept, and between looks for such nodes.
_KEPT: Final = 300.0
_LOOK: Final = 60.0

log = logging.getLogger(__name__)

Load = Callable[[], Awaitable[None]]


class Takeovers:
    """Reads the records of nodes that connect, and keeps those of nodes that are connected."""

    def __init__(
        self,
        client: KubeClient,
        record: Record,
        syncs: FencedObjectSyncs,
        *,
        on_forgotten: Callable[[set[str]], None],
    ) -> None:
        """Set up; `syncs` writes the record. `on_forgotten` gets nodes that have gone for long."""
        self._client = client
        self._record = record
        self._syncs = syncs
        self._on_forgotten = on_forgotten
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._gone: dict[str, float] = {}
        """since when nodes are gone whose record is still known, by the monotonic clock"""
        self._lost: set[str] = set()
        """nodes that have lost their objects while their record was being read"""
        record.on_forget = self._forget_seen
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._failures = FailureLog(log, logging.ERROR)

    def __len__(self) -> int:
        """Return the number of ObjectSyncs that are to be written."""
        return len(self._syncs)

    async def open(self) -> None:
        """Bring what was recorded before there were replicas into their form."""
        try:
            await retry_listing(self._open, self._client.health)
        except KubeError as error:
            text = f"cannot bring the record of a time without replicas up to date: {error}"
            self._failures.failed("open", type(error).__name__, f"{text}; {error.hint}")
        self._record.keep_in(self._syncs)

    async def _open(self) -> None:
        rows = list(self._rows_of_file())
        for first in range(0, len(rows), _AT_ONCE):
            # Not a group of tasks: what fails is to be a KubeError, which is retried.
            some = rows[first : first + _AT_ONCE]
            await asyncio.gather(*(self._publish(*each) for each in some))
        for node in self._record.nodes():
            self._syncs.forget_node(node)
        await self._syncs.load_node(EVERY_NODE)

    def _rows_of_file(self) -> Iterator[tuple[str, Item, Row]]:
        """Return the rows that are in a file alone, of a time without replicas."""
        for node in (*self._record.nodes(), EVERY_NODE):
            for item, row in self._record.items(node).items():
                if not row.in_second:
                    yield node, item, row

    async def _publish(self, node: str, item: Item, row: Row) -> None:
        try:
            await self._syncs.publish(node, item, row)
        except (BadRequest, Invalid) as error:  # this one alone
            log.warning("node %s: has %s, which cannot be written: %s", node, "/".join(item), error)

    async def run(self) -> None:
        """Write, and forget the records of nodes that have gone, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._syncs.run())
                tasks.create_task(self._forget())
        finally:
            for task in self._reading.values():
                task.cancel()

    def begin(self, node: str, then: Callable[[], None], load: Load | None = None) -> None:
        """Read the record of a node that has connected, and call `then`.

        `load` reads what else is to be known of the node before that; it raises KubeErrors.
        """
        self.give_up(node)
        self._gone.pop(node, None)
        self._lost.discard(node)
        self._reading[node] = reading = asyncio.create_task(self._read(node, then, load))
        reading.add_done_callback(partial(_report_failure, node))

    def is_reading(self, node: str) -> bool:
        """Whether the record of a node is being read."""
        return node in self._reading

    def give_up(self, node: str) -> None:
        """Note that a node has gone, maybe before its record was read."""
        if task := self._reading.pop(node, None):
            task.cancel()
        self._gone[node] = time.monotonic()

    async def weaken(self, rows: Iterable[tuple[str, Item]]) -> set[tuple[str, Item]]:
        """Write what has to be written before messages about these rows are sent.

        Returns those with which that has not worked in time.
        """
        return await self._syncs.weaken(rows)

    async def write_loss(self, node: str) -> bool:
        """Write that nothing is sure of what a node has; whether the API knows that now."""
        return await self._syncs.write_loss(node)

    async def promise(self, rows: Iterable[tuple[str, Item, Row]]) -> bool:
        """Write rows before messages about them are sent; whether that has worked in time.

        The record gets them when the messages have been sent.
        """
        return not await self._syncs.write_first(rows)

    async def _read(self, node: str, then: Callable[[], None], load: Load | None) -> None:
        while True:
            try:
                await retry_listing(lambda: self._load(node, load), self._client.health)
                break
            except KubeError as error:
                text = f"cannot read what nodes have: {error}; {error.hint}"
                self._failures.failed("", type(error).__name__, text)
                await asyncio.sleep(_AGAIN)
        self._failures.worked("", "what nodes have can be read again")
        del self._reading[node]
        if node in self._lost:
            self._record.forget_seen(node)
        then()

    def _forget_seen(self, node: str) -> None:
        if node in self._reading:
            self._lost.add(node)

    async def _load(self, node: str, load: Load | None) -> None:
        """Make one attempt; between two, other nodes have the room."""
        async with self._room:
            await self._syncs.load_node(node)
            if load:
                await load()

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            before = time.monotonic() - _KEPT
            gone = [node for node, since in self._gone.items() if since < before]
            forgotten = {node for node in gone if self._syncs.forget_node(node)}
            for node in forgotten:
                del self._gone[node]
            self._on_forgotten(forgotten)


def _report_failure(node: str, reading: asyncio.Task[None]) -> None:
    if not reading.cancelled() and (error := reading.exception()):
        log.error("node %s: is not served until it connects again", node, exc_info=error)

"""Watches: a stream of the changes after a revision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from modules.apiserver.catalog import Resource
from modules.apiserver.http.tables import table
from modules.apiserver.meta.objects import Entry, Event, Json, encode, watch_line
from modules.apiserver.meta.selectors import Selector
from modules.apiserver.meta.status import ApiError, not_given_out, too_old
from modules.apiserver.storage.collection import Collection
from modules.apiserver.storage.store import Store
from modules.apiserver.turns import Turn, in_turns

# The protocol asks for a bookmark "about once a minute" (KEP-956).
BOOKMARK_SECONDS = 60.0
BATCH_BYTES = 256 * 1024
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Write = Callable[[bytes], Awaitable[None]]


class PlainLines:
    """Encoder of events with whole objects, from their stored bytes."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def line(self, type_: str, entry: Entry) -> bytes:
        return watch_line(type_, self._resource.raw(entry))

    def bookmark(self, bookmark: Json) -> bytes:
        return watch_line("BOOKMARK", encode(bookmark))


class TableLines:
    """Encoder of events as Tables of one row; the first one has the column definitions."""

    def __init__(self, resource: Resource, include_object: str) -> None:
        self._resource = resource
        self._include_object = include_object
        self._first = True

    def line(self, type_: str, entry: Entry) -> bytes:
        return self._table(
            type_, [self._resource.decode(entry)], {"resourceVersion": str(entry.revision)}
        )

    def bookmark(self, bookmark: Json) -> bytes:
        return self._table("BOOKMARK", [], bookmark["metadata"])

    def _table(self, type_: str, objects: list[Json], metadata: Json) -> bytes:
        built = table(
            self._resource.columns,
            objects,
            metadata,
            include_object=self._include_object,
            with_definitions=self._first,
        )
        self._first = False
        return watch_line(type_, encode(built))


@dataclass(eq=False)
class Watch:
    """The watch of one client. `revision` None sends the present state first, as ADDED events."""

    store: Store
    resource: Resource
    namespace: str
    selector: Selector
    lines: PlainLines | TableLines
    revision: int | None
    bookmarks: bool = False
    # Send a bookmark at the end of the initial state (KEP-3157, sendInitialEvents).
    mark_initial_end: bool = False
    bookmark_seconds: float = BOOKMARK_SECONDS
    _stopping: bool = field(default=False, init=False)
    _wake: asyncio.Event | None = field(default=None, init=False)
    # Across batches: a write to a socket that is not full does not yield to the event loop.
    _turn: Turn = field(default_factory=Turn, init=False)

    def stop(self) -> None:
        """End the stream cleanly: its client reconnects and continues from its last revision."""
        self._stopping = True
        if self._wake is not None:
            self._wake.set()

    async def run(self, write: Write) -> None:
        """Write events until stopped, cancelled, or behind the history."""
        collection = self.store.collection(self.resource.storage)
        history = collection.history
        self._wake = history.subscribe()
        try:
            if self.revision is None:
                position: int | None = history.end
                await self._write_present(collection, write)
            else:
                position = history.position_after(self.revision)
                if not self.store.gave_out(self.revision):
                    position = None
            while position is not None and not self._stopping:
                position = await self._step(collection, position, write)
            if position is None:
                await write(watch_line("ERROR", encode(self._must_list_again().status())))
        finally:
            history.unsubscribe(self._wake)

    def _must_list_again(self) -> ApiError:
        revision = self.revision or 0
        if not self.store.gave_out(revision):
            return not_given_out(revision, self.store.revision)
        return too_old(revision, self.store.collection(self.resource.storage).history.oldest)

    async def _step(self, collection: Collection, position: int, write: Write) -> int | None:
        """Write the next events, or wait for one; return the new position, None if behind."""
        assert self._wake is not None
        self._wake.clear()
        events = collection.history.read(position, BATCH_BYTES)
        if events is None:
            return None
        if events:
            lines = b"".join(await in_turns(self._lines_of(events), self._turn))
            if lines:
                await write(lines)
        elif not self._stopping:
            await self._wait(write)
        return position + len(events)

    async def _wait(self, write: Write) -> None:
        assert self._wake is not None
        try:
            await asyncio.wait_for(self._wake.wait(), self.bookmark_seconds)
        except TimeoutError:
            # No object of this kind has changed: the client is up to date with the whole store.
            if self.bookmarks:
                await write(self._bookmark(self.store.revision))
        self._turn.begin()

    async def _write_present(self, collection: Collection, write: Write) -> None:
        revision = self.store.revision
        batch: list[bytes] = []
        size = 0
        for entry in collection.snapshot(self.namespace):
            if self._selects(entry):
                batch.append(self.lines.line("ADDED", entry))
                size += len(batch[-1])
            if size >= BATCH_BYTES:
                await write(b"".join(batch))
                batch, size = [], 0
            if self._turn.is_over:
                await self._turn.next()
        if self.mark_initial_end:
            batch.append(self._bookmark(revision, {INITIAL_EVENTS_END: "true"}))
        if batch:
            await write(b"".join(batch))

    def _lines_of(self, events: list[Event]) -> Iterator[bytes]:
        """Yield a line for each event, an empty one for an event that does not match."""
        for event in events:
            type_ = self._type_for_us(event)
            yield self.lines.line(type_, event.entry) if type_ else b""

    def _type_for_us(self, event: Event) -> str:
        """Return the event's type as this watch sees it; "" if it does not match."""
        if self.namespace and event.entry.key[0] != self.namespace:
            return ""
        if not self.selector:
            return event.type
        before = event.previous is not None and self._selects(event.previous)
        after = event.type != "DELETED" and self._selects(event.entry)
        if before:
            return "MODIFIED" if after else "DELETED"
        return "ADDED" if after else ""

    def _selects(self, entry: Entry) -> bool:
        return self.selector.matches(entry.labels, entry.fields)

    def _bookmark(self, revision: int, annotations: dict[str, str] | None = None) -> bytes:
        metadata: Json = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return self.lines.bookmark(
            {
                "kind": self.resource.kind,
                "apiVersion": self.resource.api_version,
                "metadata": metadata,
            }
        )

"""An API whose lists, answers and watch arrive when the test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

from modules.common.kube import Gone, Key, NotFound, Object, Page, Resource, WatchEvent

#: Turns of the event loop after which nothing more happens by itself.
_TURNS = 16


class Read:
    """A request for one object, answered as of one time; the answer arrives at another."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.answer: Object | None = None
        self.is_answered = False
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class SlowApi:
    """Stands for a KubeClient, of objects of one resource; of others there are none."""

    def __init__(self, resource: Resource, module: str) -> None:
        self.resource = resource
        self.module = module
        self.revision = 1
        self.objects: dict[Key, Object] = {}
        self.log: list[tuple[int, WatchEvent]] = []
        self.position = 1
        self.watch: asyncio.Future[None] | None = None
        self.on_event: Callable[[WatchEvent], None]
        self.reads: list[Read] = []
        self.listing: asyncio.Future[None] | None = None
        """a list that has been made, and has not arrived"""
        self._is_slow = False
        self.health = SimpleNamespace(
            pause=self._pause, served=lambda _: None, failed=lambda *_: None
        )

    async def _pause(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)

    # The client

    async def pages(self, resource: Resource, *_: Any, **__: Any) -> AsyncGenerator[Page]:
        if resource is not self.resource:
            yield Page([], "1")
            return
        page = Page(list(self.objects.values()), str(self.revision))
        if self._is_slow:
            self._is_slow = False
            self.listing = asyncio.get_running_loop().create_future()
            await self.listing
        yield page

    async def follow(
        self,
        resource: Resource,
        _: Any,
        on_event: Callable[[WatchEvent], None],
        **options: Any,
    ) -> None:
        if resource is not self.resource:
            await asyncio.get_running_loop().create_future()
        self.position = int(options["resource_version"])
        self.on_event = on_event
        self.watch = asyncio.get_running_loop().create_future()
        try:
            await self.watch
        finally:
            self.watch = None

    async def get(self, _: Resource, name: str, namespace: str) -> Object:
        read = Read((namespace, name))
        self.reads.append(read)
        await read.arrived
        if read.answer is None:
            raise NotFound(404, "NotFound", name)
        return read.answer

    # What happens

    def put(self, made: Object) -> None:
        """Create or change an object."""
        metadata = made["metadata"]
        key = metadata["namespace"], metadata["name"]
        self.revision += 1
        before = self.objects.get(key)
        uid = before["metadata"]["uid"] if before else f"u{self.revision}"
        metadata |= {"uid": uid, "resourceVersion": str(self.revision)}
        self.objects[key] = made
        self.log.append((self.revision, WatchEvent("MODIFIED" if before else "ADDED", made)))

    def remove(self, key: Key) -> None:
        if before := self.objects.pop(key, None):
            self.revision += 1
            metadata = {**before["metadata"], "resourceVersion": str(self.revision)}
            last = WatchEvent("DELETED", {**before, "metadata": metadata})
            self.log.append((self.revision, last))

    def answer(self, number: int) -> None:
        """Read what was asked for, as it is now."""
        waiting = [read for read in self.reads if not read.is_answered]
        if waiting:
            read = waiting[number % len(waiting)]
            read.answer, read.is_answered = self.objects.get(read.key), True

    def arrive(self, number: int) -> None:
        answered = [read for read in self.reads if read.is_answered]
        if answered:
            read = answered[number % len(answered)]
            self.reads.remove(read)
            read.arrived.set_result(None)

    def show(self, count: int) -> None:
        """Let the watch show some events."""
        for revision, event in self.log:
            if self.watch and self.position < revision and count:
                self.position = revision
                count -= 1
                self.on_event(event)

    def expire(self) -> None:
        """End the watch, after which all is listed."""
        if self.watch and not self.watch.done():
            self.watch.set_exception(Gone(410, "Expired", "too old"))

    def expire_slowly(self) -> None:
        """End the watch; the list that follows arrives later than it was made."""
        self._is_slow = self.watch is not None
        self.expire()

    def list_arrives(self) -> None:
        if self.listing and not self.listing.done():
            self.listing.set_result(None)

    async def settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def all_arrives(self, is_waiting: Callable[[], object]) -> None:
        """Let the list and all events arrive, and what is read while something waits."""
        self.list_arrives()
        await self.settle()
        self.show(len(self.log))
        await self.settle()
        while self.reads or is_waiting():
            self.answer(0)
            self.arrive(0)
            await asyncio.sleep(0)

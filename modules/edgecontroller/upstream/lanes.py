"""Working on several messages at a time, yet on those of one object one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

from ipc import Message


class Delivery(Protocol):
    """A message that stays in the channel until it is done (ipc.Delivery)."""

    @property
    def message(self) -> Message: ...
    def done(self) -> None: ...


Handler = Callable[[list[Message]], Awaitable[None]]


class Lane:
    """A queue per object and a number of workers for all of them.

    With `latest_only` each message replaces those of its object that nobody has begun with (a
    status does). Their content is dropped at once, which bounds memory while the API server is
    away; the handler gets them before the last one, to answer them too.
    """

    def __init__(self, handle: Handler, workers: int, *, latest_only: bool = False) -> None:
        self._handle = handle
        self._workers = workers
        self._latest_only = latest_only
        self._waiting: dict[Hashable, deque[Delivery]] = {}
        self._replaced: dict[Hashable, list[Message]] = {}
        self._ready: asyncio.Queue[Hashable] = asyncio.Queue()
        self._busy: set[Hashable] = set()
        self.handled = 0

    def __len__(self) -> int:
        """Count the messages that wait."""
        return sum(map(len, self._waiting.values()))

    def put(self, key: Hashable, delivery: Delivery) -> None:
        """Queue a message of the object `key`."""
        waiting = self._waiting.setdefault(key, deque())
        if not waiting and key not in self._busy:
            self._ready.put_nowait(key)
        if waiting and self._latest_only:
            self._replace(key, waiting.popleft())
        waiting.append(delivery)

    async def run(self) -> None:
        """Work until cancelled; what is not done then is delivered again after the next start."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    def _replace(self, key: Hashable, delivery: Delivery) -> None:
        delivery.message.content = None
        self._replaced.setdefault(key, []).append(delivery.message)
        delivery.done()

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._busy.add(key)
            waiting = self._waiting[key]
            delivery = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            await self._handle([*self._replaced.pop(key, ()), delivery.message])
            delivery.done()
            self.handled += 1
            self._busy.discard(key)
            if key in self._waiting:
                self._ready.put_nowait(key)

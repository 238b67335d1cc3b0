"""A queue of keys to reconcile, like client-go's workqueue.

It holds keys, not changes: however often an object has changed, it is handled once, in its
present state. A key that is added while it is being handled is handled once more afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from ipc import MessageTooLarge, NotAMessage
from modules.common.kube.backoff import Backoff
from modules.common.kube.errors import BadRequest, Invalid, KubeError

Item = TypeVar("Item", bound=Hashable)

log = logging.getLogger(__name__)


class KeyedQueue(Generic[Item]):
    """A FIFO queue of keys, each handled by at most one worker at a time.

    A key whose handler raises one of the expected errors is retried with exponential backoff. On
    any other error, and on one that a retry cannot mend (the API server rejects the object), the
    key is passed to `put_aside`, and handled again only when it is added again.
    """

    def __init__(
        self,
        handle: Callable[[Item], Awaitable[None]],
        expected: type[Exception] | tuple[type[Exception], ...],
        put_aside: Callable[[Item, Exception], None],
    ) -> None:
        self._put_aside = put_aside
        self._handle = handle
        self._expected = expected
        self._waiting: dict[Item, None] = {}
        self._active: set[Item] = set()
        self._again: set[Item] = set()
        self._failures: dict[Item, Backoff] = {}
        self._timers: dict[Item, asyncio.TimerHandle] = {}
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting.keys() | self._timers.keys() | self._active)

    def add(self, item: Item) -> None:
        if item in self._active:
            self._again.add(item)
            return
        self._cancel_timer(item)
        self._waiting[item] = None
        self._filled.set()

    def add_later(self, item: Item, delay: float) -> None:
        """Add a key after `delay` seconds, unless it is queued or added before that."""
        if item not in self._waiting and item not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[item] = loop.call_later(delay, self.add, item)

    def discard_later(self, item: Item) -> None:
        """Cancel an `add_later` that is still pending."""
        self._cancel_timer(item)

    async def run(self, workers: int = 1) -> None:
        """Handle keys until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work())

    def retry_now(self) -> None:
        """Retry all keys that are in backoff at once."""
        for item in self._failures.keys() & self._timers.keys():
            self.add(item)

    def stop(self) -> None:
        """Cancel all timers."""
        for item in list(self._timers):
            self._cancel_timer(item)

    async def _work(self) -> None:
        while True:
            item = await self._next()
            self._active.add(item)
            try:
                await self._handle(item)
            except (MessageTooLarge, NotAMessage, BadRequest, Invalid) as error:
                self._give_up(item, error)  # a retry would fail in the same way
            except self._expected as error:
                self._failed(item, error)
            except Exception as error:
                self._give_up(item, error)
            else:
                self._failures.pop(item, None)
            finally:
                self._active.discard(item)
                if item in self._again:
                    self._again.discard(item)
                    self.add(item)

    async def _next(self) -> Item:
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        item = next(iter(self._waiting))
        del self._waiting[item]
        return item

    def _give_up(self, item: Item, error: Exception) -> None:
        self._failures.pop(item, None)
        self._put_aside(item, error)

    def _failed(self, item: Item, error: Exception) -> None:
        backoff = self._failures.get(item)
        if backoff is None:
            backoff = self._failures[item] = Backoff()
            # An outage is logged once, by the client's ApiHealth.
            if not (isinstance(error, KubeError) and error.outage):
                log.warning("%s; retrying until it works", error)
        pause = backoff.next(getattr(error, "retry_after", None))
        log.debug("%s; retrying in %.1f s", error, pause)
        self.add_later(item, pause)

    def _cancel_timer(self, item: Item) -> None:
        if timer := self._timers.pop(item, None):
            timer.cancel()

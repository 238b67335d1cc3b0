"""Working on several messages at a time, yet on those of one object one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Protocol, TypeVar

from ipc import Message
from modules.common.kube import Backoff, KubeError, retry
from modules.common.kube.health import ApiHealth

Result = TypeVar("Result")

#: Attempts in a row at what the API server fails to do for one object.
_ATTEMPTS: Final = 3

log = logging.getLogger(__name__)


class Delivery(Protocol):
    """A message that stays in the channel until it is done (ipc.Delivery)."""

    @property
    def message(self) -> Message: ...
    def done(self) -> None: ...


Handler = Callable[[list[Message]], Awaitable[None]]


async def try_in_lane(attempt: Callable[[], Awaitable[Result]], health: ApiHealth) -> Result:
    """Await `attempt()` while the API serves nobody; what fails for one object goes to the lane."""
    return await retry(attempt, health, attempts=_ATTEMPTS)


class Lane:
    """A queue per object and a number of workers for all of them.

    With `latest_only` each message replaces those of its object that nobody has begun with (a
    status does). Their content is dropped at once, which bounds memory while the API server is
    away; the handler gets them before the last one, to answer them too.

    What raises a KubeError is handled again after a pause that grows with each failure. It
    occupies no worker meanwhile: one object that the API server cannot write (an admission webhook
    does not answer) delays only the messages of that object.
    """

    def __init__(self, handle: Handler, workers: int, *, latest_only: bool = False) -> None:
        self._handle = handle
        self._workers = workers
        self._latest_only = latest_only
        self._waiting: dict[Hashable, deque[Delivery]] = {}
        self._replaced: dict[Hashable, list[Message]] = {}
        self._ready: asyncio.Queue[Hashable] = asyncio.Queue()
        self._busy: set[Hashable] = set()  # being handled, or in a pause after a failure
        self._failing: dict[Hashable, Backoff] = {}
        self._logged: set[str] = set()
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
            batch = [*self._replaced.pop(key, ()), delivery.message]
            try:
                await self._handle(batch)
            except KubeError as error:
                self._put_back(key, delivery, batch, error)
                continue
            delivery.done()
            self.handled += 1
            self._worked(key)
            self._busy.discard(key)
            if key in self._waiting:
                self._ready.put_nowait(key)

    def _put_back(
        self, key: Hashable, delivery: Delivery, batch: list[Message], error: KubeError
    ) -> None:
        """Handle a message again later, unless a newer one of its object replaces it."""
        self._log(error)
        waiting = self._waiting.setdefault(key, deque())
        newer = self._replaced.pop(key, [])
        self._replaced[key] = batch[:-1]
        if waiting and self._latest_only:
            self._replace(key, delivery)
        else:
            waiting.appendleft(delivery)
        self._replaced[key] += newer
        pause = self._failing.setdefault(key, Backoff()).next()
        asyncio.get_running_loop().call_later(pause, self._ready.put_nowait, key)

    def _worked(self, key: Hashable) -> None:
        if self._failing.pop(key, None) and not self._failing:
            self._logged.clear()
            log.info("the Kubernetes API takes again what it could not take")

    def _log(self, error: KubeError) -> None:
        """Log each sort of failure once, until nothing fails any more."""
        sort = f"{type(error).__name__} {getattr(error, 'reason', '')}"
        known = sort in self._logged
        self._logged.add(sort)
        level = logging.DEBUG if known else logging.WARNING
        log.log(level, f"{error}; {error.hint}, while others are worked on")

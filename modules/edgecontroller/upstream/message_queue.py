"""Queues of messages from edges: one at a time per object, several objects at a time.

Unlike `modules.common.sync.keyed_queue`, which holds keys alone, this holds messages: each is
handled, or answered along with the one that replaces it, and each is then done in the channel.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, NamedTuple, TypeVar

from ipc import Message
from modules.common.kube import Backoff, KubeError, retry
from modules.common.kube.health import ApiHealth

Result = TypeVar("Result")
Handler = Callable[[list[Message]], Awaitable[None]]

#: Limit of the messages of one object that are answered along with the one that replaced them. A
#: status is sent every 10 s, and its sender waits for an answer for a minute at most.
_ANSWERED: Final = 16

#: Seconds after which the handling of a message counts as slow, and the keys that are remembered
#: as slow until a message of theirs is not.
_SLOW: Final = 5.0
_REMEMBERED: Final = 4096

#: Limit of the messages of one object that wait while the API server fails to handle the first: a
#: question is asked again each minute.
_BEHIND: Final = 16

#: Attempts in a row at what the API server fails to do for one object.
_ATTEMPTS: Final = 3

log = logging.getLogger(__name__)


class Queued(NamedTuple):
    """A message, and what to call when it has been handled or replaced."""

    message: Message
    done: Callable[[], None]


async def retry_briefly(attempt: Callable[[], Awaitable[Result]], health: ApiHealth) -> Result:
    """Await `attempt()`, again as long as the API is away; at most 3 times for other failures.

    Raises the KubeError of the last attempt, with which the queue puts the message back.
    """
    return await retry(attempt, health, attempts=_ATTEMPTS)


class MessageQueue:
    """A FIFO queue per object, and a number of workers for all of them.

    With `latest_only` (for statuses) a message replaces the earlier ones of its object that no
    worker has taken yet. Their content is dropped at once, which bounds memory while the API
    server is away; the handler gets the last of them before the latest one, so that it can answer
    them too.

    A message whose handler raises a KubeError is put back and retried after a growing backoff. It
    occupies no worker meanwhile: an object that the API server cannot write (an admission webhook
    does not answer) delays only the messages of that object. Objects whose last message has failed,
    or took long, have workers of their own, half as many: however many such objects there are, no
    other one waits for them.
    """

    def __init__(
        self,
        handle: Handler,
        workers: int,
        *,
        latest_only: bool = False,
        most_waiting: float = math.inf,
        most_keys: float = math.inf,
    ) -> None:
        """Set up; a message is dropped if `most_waiting` of its key wait, or `most_keys` keys."""
        self._handle = handle
        self._most_waiting = most_waiting
        self._most_keys = most_keys
        self._workers = workers
        self._latest_only = latest_only
        self._waiting: dict[Hashable, deque[Queued]] = {}
        self._replaced: dict[Hashable, deque[Message]] = {}
        self._ready: asyncio.Queue[Hashable] = asyncio.Queue()
        self._ready_again: asyncio.Queue[Hashable] = asyncio.Queue()
        """objects whose last message has failed, or took long"""
        self._busy: set[Hashable] = set()
        """objects whose message is being handled, or whose backoff lasts"""
        self._handling: dict[Hashable, asyncio.Timeout] = {}
        """what ends the handling of an object's message"""
        self._failing: dict[Hashable, Backoff] = {}
        self._slow: dict[Hashable, None] = {}
        self._logged: set[str] = set()
        self.handled = 0
        self.dropped = 0

    def __len__(self) -> int:
        """Return the number of messages that no worker has taken."""
        return sum(map(len, self._waiting.values()))

    def put(self, key: Hashable, message: Message, done: Callable[[], None]) -> None:
        """Queue a message of the object `key`; `done` is called when it has been handled."""
        if self._is_full(key):
            self.dropped += 1
            done()
            return
        waiting = self._waiting.setdefault(key, deque())
        if not waiting and key not in self._busy:
            self._make_ready(key)
        if waiting and self._latest_only:
            self._replace(key, waiting.popleft())
        elif len(waiting) >= _BEHIND and key in self._failing:
            waiting.popleft().done()  # whoever has sent it waits no more
            self.dropped += 1
        waiting.append(Queued(message, done))

    def drop(self, belongs: Callable[[Hashable], bool]) -> None:
        """Drop the messages of some objects, one that is being handled too."""
        for key in [key for key in self._waiting if belongs(key)]:
            self._replaced.pop(key, None)
            self._forget_failure(key)
            for queued in self._waiting.pop(key):
                queued.done()
                self.dropped += 1
        now = asyncio.get_running_loop().time()
        for key, handling in self._handling.items():
            if belongs(key) and handling.when() is None:  # or it has been dropped already
                handling.reschedule(now)

    async def run(self) -> None:
        """Handle messages until cancelled; the channel redelivers what is not done by then."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work(self._ready))
            for _ in range(max(1, self._workers // 2)):
                tasks.create_task(self._work(self._ready_again))

    def _is_full(self, key: Hashable) -> bool:
        if key in self._waiting:
            return len(self._waiting[key]) >= self._most_waiting
        return len(self._waiting) >= self._most_keys

    def _replace(self, key: Hashable, queued: Queued) -> None:
        queued.message.content = None
        self._replaced.setdefault(key, deque(maxlen=_ANSWERED)).append(queued.message)
        queued.done()

    def _make_ready(self, key: Hashable) -> None:
        is_trouble = key in self._failing or key in self._slow
        (self._ready_again if is_trouble else self._ready).put_nowait(key)

    def _note_pace(self, key: Hashable, began: float) -> None:
        """Remember whether the handling of an object's message took long."""
        self._slow.pop(key, None)
        if asyncio.get_running_loop().time() - began >= _SLOW:
            self._slow[key] = None
            if len(self._slow) > _REMEMBERED:
                del self._slow[next(iter(self._slow))]

    async def _work(self, ready: asyncio.Queue[Hashable]) -> None:
        while True:
            key = await ready.get()
            if key not in self._waiting or key in self._handling:
                if key not in self._handling:
                    self._busy.discard(key)  # its messages were dropped
                continue
            self._busy.add(key)
            waiting = self._waiting[key]
            queued = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            batch = [*self._replaced.pop(key, ()), queued.message]
            handling = self._handling[key] = asyncio.timeout(None)
            began = asyncio.get_running_loop().time()
            try:
                async with handling:
                    await self._handle(batch)
            except (KubeError, TimeoutError) as error:
                if handling.when() is None:  # it is not dropped
                    if not isinstance(error, KubeError):
                        raise
                    self._put_back(key, queued, batch, error)
                    continue
                self.dropped += 1
                self._forget_failure(key)
            else:
                self.handled += 1
                if self._forget_failure(key):
                    log.info("the Kubernetes API accepts all writes again that it had failed")
            finally:
                del self._handling[key]
                self._note_pace(key, began)
            queued.done()
            self._busy.discard(key)
            if key in self._waiting:
                self._make_ready(key)

    def _put_back(
        self, key: Hashable, queued: Queued, batch: list[Message], error: KubeError
    ) -> None:
        """Retry a message after a backoff, unless a newer one of its object replaces it."""
        self._log_failure(error)
        waiting = self._waiting.setdefault(key, deque())
        newer = self._replaced.pop(key, ())
        self._replaced[key] = deque(batch[:-1], maxlen=_ANSWERED)
        if waiting and self._latest_only:
            self._replace(key, queued)
        else:
            waiting.appendleft(queued)
        self._replaced[key] += newer
        pause = self._failing.setdefault(key, Backoff()).next()
        asyncio.get_running_loop().call_later(pause, self._make_ready, key)

    def _forget_failure(self, key: Hashable) -> bool:
        """Forget that messages of an object have failed; whether no other object fails now."""
        if self._failing.pop(key, None) is None or self._failing:
            return False
        self._logged.clear()
        return True

    def _log_failure(self, error: KubeError) -> None:
        """Log each kind of failure once, until no object fails any more."""
        kind = f"{type(error).__name__} {getattr(error, 'reason', '')}"
        known = kind in self._logged
        self._logged.add(kind)
        level = logging.DEBUG if known else logging.WARNING
        log.log(level, "%s; %s; other objects are not affected", error, error.hint)

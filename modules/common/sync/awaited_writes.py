"""Who waits for rows to be written, before messages about them are sent.

Whoever begins to wait waits for a write that begins later: one that is on its way may not have
what it waits for. A row that the API server fails to write, and it alone, delays nobody for long:
it is retried, but nobody waits for it until it can be written again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from modules.common.kube import KubeError, TooManyRequests

#: Failures of a write in a row after which nobody waits for it.
_ATTEMPTS: Final = 3

Key = TypeVar("Key", bound=Hashable)


class AwaitedWrites(Generic[Key]):
    """The writes that are waited for, by key."""

    def __init__(self) -> None:
        self._awaited: dict[Key, asyncio.Future[bool]] = {}
        self._failures: dict[Key, int] = {}

    def next(self, key: Key) -> asyncio.Future[bool]:
        """Return whether the next write that begins is one to go on with, once it is known."""
        if key not in self._awaited:
            self._awaited[key] = asyncio.get_running_loop().create_future()
        return self._awaited[key]

    def is_failing(self, key: Key) -> bool:
        """Whether writes have failed that often that nobody is to wait for them."""
        return self._failures.get(key, 0) >= _ATTEMPTS

    async def write(self, key: Key, write: Callable[[], Awaitable[bool]]) -> None:
        """Write a row, and tell who has begun to wait before what `write` returns.

        Who waits goes on waiting after a failure that may be one of all writes.
        """
        awaited = self._awaited.pop(key, None)
        try:
            result = await write()
        except Exception as error:
            self.note_failure(key, error)
            if awaited:
                self._wait_on(key, awaited)
            raise
        self.note_success(key)
        if awaited:
            awaited.set_result(result)

    def note_success(self, key: Key) -> None:
        """Note that a row can be written."""
        self._failures.pop(key, None)

    def note_failure(self, key: Key, error: Exception) -> None:
        """Count a failure to write a row, unless it may be one of all writes."""
        is_of_all = isinstance(error, KubeError) and error.outage
        if not is_of_all and not isinstance(error, TooManyRequests):
            self._failures[key] = self._failures.get(key, 0) + 1

    def _wait_on(self, key: Key, awaited: asyncio.Future[bool]) -> None:
        newer = self._awaited.setdefault(key, awaited)
        if self.is_failing(key):
            del self._awaited[key]
            newer.set_result(False)
        if newer is not awaited:
            newer.add_done_callback(lambda done: awaited.set_result(done.result()))

"""The queue's promises: once for many changes, one at a time, again after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from ipc import ChannelError, MessageTooLarge
from modules.common.kube import Backoff, Forbidden, KubeError, TooLarge, Unreachable
from modules.common.sync import keyed_queue
from modules.common.sync.keyed_queue import KeyedQueue
from tests.support.waiting import DEADLINE


class Broken(Exception):
    pass


@asynccontextmanager
async def running(queue: KeyedQueue[Any], workers: int = 1) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(workers))
    try:
        async with asyncio.timeout(DEADLINE):
            yield
    finally:
        queue.stop()
        task.cancel()
        await asyncio.wait([task])


def unexpected(item: str, error: Exception) -> None:
    raise AssertionError(item) from error


class Recorder:
    """A handler that notes what it is given, and can be held up."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.changed = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = 0

    async def __call__(self, item: str) -> None:
        async with self.changed:
            self.seen.append(item)
            self.changed.notify_all()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise Broken("not now")

    async def until(self, condition: Callable[[list[str]], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: condition(self.seen))


async def test_many_adds_are_one() -> None:
    handle = Recorder()
    queue = KeyedQueue(handle, Broken, unexpected)
    for item in ("a", "b", "a", "a"):
        queue.add(item)
    async with running(queue):
        await handle.until(lambda seen: len(seen) == 2)
        queue.add("c")
        await handle.until(lambda seen: seen[-1] == "c")
    assert handle.seen == ["a", "b", "c"]


async def test_added_while_handled_is_handled_again_afterwards() -> None:
    handle = Recorder()
    handle.gate.clear()
    queue = KeyedQueue(handle, Broken, unexpected)
    queue.add("a")
    async with running(queue, workers=2):
        await handle.until(lambda seen: seen == ["a"])
        queue.add("a")
        queue.add("b")
        await handle.until(lambda seen: seen == ["a", "b"])
        handle.gate.set()
        await handle.until(lambda seen: seen == ["a", "b", "a"])


async def test_failed_item_comes_again_and_others_go_on() -> None:
    handle = Recorder()
    handle.failures = 1
    queue = KeyedQueue(handle, Broken, unexpected)
    queue.add("a")
    queue.add("b")
    async with running(queue):
        await handle.until(lambda seen: len(seen) == 3)
    assert handle.seen == ["a", "b", "a"]


async def test_unexpected_error_sets_one_item_aside() -> None:
    handled, aside = Recorder(), Recorder()

    async def handle(item: str) -> None:
        if item == "bad":
            raise ZeroDivisionError
        await handled(item)

    queue = KeyedQueue(handle, Broken, lambda item, _: aside.seen.append(item))
    queue.add("bad")
    queue.add("good")
    async with running(queue):
        await handled.until(lambda seen: seen == ["good"])
    assert aside.seen == ["bad"]


async def test_what_no_channel_carries_is_not_tried_again() -> None:
    aside: list[str] = []

    async def handle(_: str) -> None:
        raise MessageTooLarge

    queue = KeyedQueue(handle, ChannelError, lambda item, _: aside.append(item))
    queue.add("a")
    async with running(queue):
        while not aside:
            await asyncio.sleep(0)
    assert not queue


async def test_later_is_dropped_when_taken_back_and_merged_with_now() -> None:
    handle = Recorder()
    queue = KeyedQueue(handle, Broken, unexpected)
    queue.add_later("dropped", 0.01)
    queue.discard_later("dropped")
    queue.add_later("merged", 0.01)
    queue.add("merged")
    queue.add_later("late", 0.02)
    async with running(queue):
        await handle.until(lambda seen: "late" in seen)
    assert handle.seen == ["merged", "late"]


async def test_add_later_of_a_queued_key_adds_nothing() -> None:
    handle = Recorder()
    queue = KeyedQueue(handle, Broken, unexpected)
    queue.add("a")
    queue.add_later("a", 0.01)
    queue.add_later("b", 0.02)  # later than a timer of "a" would fire
    async with running(queue):
        await handle.until(lambda seen: "b" in seen)
    assert handle.seen == ["a", "b"]


async def test_retry_now_ends_the_pauses_of_what_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle = Recorder()
    handle.failures = 1
    monkeypatch.setattr(keyed_queue, "Backoff", partial(Backoff, initial=600, maximum=600))
    queue = KeyedQueue(handle, Broken, unexpected)
    queue.add("failed")
    async with running(queue):
        while "failed" not in queue._timers:
            await asyncio.sleep(0)
        queue.add_later("later", 600)
        queue.retry_now()
        await handle.until(lambda seen: seen == ["failed", "failed"])
        assert len(queue) == 1  # what is due later for another reason waits on


async def test_what_is_put_aside_has_no_failures_any_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When it is added again, its next failure is the first."""
    monkeypatch.setattr(keyed_queue, "Backoff", partial(Backoff, initial=0.001, maximum=0.001))
    errors = [Broken("busy"), ZeroDivisionError(), Broken("busy again")]
    done = asyncio.Event()

    async def handle(item: str) -> None:
        if errors:
            raise errors.pop(0)
        done.set()

    queue = KeyedQueue(handle, Broken, lambda item, _: queue.add(item))
    queue.add("a")
    async with running(queue):
        await done.wait()
    said = [f"{what}; retrying until it works" for what in ("busy", "busy again")]
    assert caplog.messages == said


async def test_what_the_api_refuses_however_often_it_is_tried_is_put_aside() -> None:
    aside = asyncio.Queue[tuple[str, Exception]]()

    async def handle(item: str) -> None:
        raise TooLarge(500, "TooLarge", "etcdserver: request is too large")

    queue = KeyedQueue(handle, KubeError, lambda item, error: aside.put_nowait((item, error)))
    queue.add("a")
    async with running(queue):
        item, error = await aside.get()
    assert (item, type(error), len(queue)) == ("a", TooLarge, 0)


async def test_an_outage_is_not_logged_for_each_item(caplog: pytest.LogCaptureFixture) -> None:
    """The client's health has logged it once."""
    errors = [Unreachable("no answer"), Forbidden(403, "Forbidden", "no rights")]
    done = asyncio.Event()

    async def handle(item: str) -> None:
        if errors:
            raise errors.pop(0)
        done.set()

    queue = KeyedQueue(handle, KubeError, unexpected)
    queue.add("a")
    queue.add("b")
    async with running(queue):
        await done.wait()
    assert caplog.messages == ["403 Forbidden: no rights; retrying until it works"]

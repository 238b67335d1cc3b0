"""Objects that the API server fails to write, or is slow to, keep the messages of no other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from ipc import Message
from modules.common.kube import ApiError
from modules.edgecontroller.upstream import message_queue
from modules.edgecontroller.upstream.message_queue import MessageQueue
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(10)

HANGS = "hangs"
FAILS = "fails"
WORKS = "works"


class Work:
    """A queue whose handler does with each message what its content says, in turn."""

    def __init__(self, workers: int) -> None:
        self.queue = MessageQueue(self._handle, workers)
        self.begun: Counter[str] = Counter()
        self.handled: Counter[str] = Counter()

    def put(self, key: str, *turns: str) -> None:
        message = Message.build("edged", "meta", "update", key, list(turns))
        self.queue.put(key, message, lambda: None)

    async def _handle(self, batch: list[Message]) -> None:
        message = batch[-1]
        self.begun[message.resource] += 1
        turn = message.content.pop(0)
        if turn == HANGS:
            await asyncio.get_running_loop().create_future()
        if turn == FAILS:
            raise ApiError(500, "InternalError", "a webhook does not answer")
        self.handled[message.resource] += 1

    async def has_handled(self, key: str, count: int = 1) -> None:
        await until(lambda: self.handled[key] == count)

    async def has_begun(self, key: str, count: int) -> None:
        await until(lambda: self.begun[key] == count)


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    made = Work(workers=2)
    running = asyncio.create_task(made.queue.run())
    yield made
    running.cancel()
    await asyncio.wait([running])


async def test_what_has_failed_is_tried_again_without_the_workers_of_others(work: Work) -> None:
    for name in ("bad-1", "bad-2", "bad-3"):
        work.put(name, FAILS, HANGS)
    await until(lambda: sum(work.begun.values()) == 4)  # one is tried again
    work.put("good", WORKS)
    await work.has_handled("good")


async def test_what_took_long_has_the_workers_of_others_no_more(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a call of a kubelet, which is answered, and made again."""
    monkeypatch.setattr(message_queue, "_SLOW", 0.0)
    for name in ("bad-1", "bad-2", "bad-3"):
        work.put(name, WORKS)
        await work.has_handled(name)
        work.put(name, HANGS)
    await work.has_begun("bad-1", 2)
    work.put("good", WORKS)
    await work.has_handled("good")


async def test_what_works_again_waits_for_no_trouble(work: Work) -> None:
    work.put("mended", FAILS, WORKS)
    await work.has_handled("mended")
    work.put("bad", FAILS, HANGS)
    await work.has_begun("bad", 2)
    work.put("mended", WORKS)
    await work.has_handled("mended", 2)


async def test_few_of_those_that_took_long_are_remembered(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_queue, "_SLOW", 0.0)
    monkeypatch.setattr(message_queue, "_REMEMBERED", 3)
    for n in range(5):
        work.put(f"slow-{n}", WORKS)
        await work.has_handled(f"slow-{n}")
    assert len(work.queue._slow) <= 3


async def test_few_messages_wait_behind_one_that_fails(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that is asked again each minute, during a night."""
    monkeypatch.setattr(message_queue, "_BEHIND", 3)
    work.put("bad", FAILS, *[FAILS] * 9)
    await work.has_begun("bad", 2)
    for _ in range(10):
        work.put("bad", WORKS)
    assert len(work.queue) <= 3
    await until(lambda: work.handled["bad"] >= 3)
    assert work.queue.dropped + work.handled["bad"] == 11

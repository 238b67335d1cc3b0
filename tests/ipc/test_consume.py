"""`consume`: each message reaches the handler and is acknowledged, whenever it arrives."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from ipc import AsyncContext, Message, open_contexts
from ipc.contexts.loop_waiter import _TURN

DEADLINE = 20.0


def numbered(number: int) -> Message:
    return Message.build("a", "g", "update", str(number))


class Consumer:
    """A module that consumes, and the messages that it has received."""

    def __init__(self, contexts: dict[str, AsyncContext]) -> None:
        self.sender, self.context = contexts["a"], contexts["b"]
        self.numbers: list[int] = []
        self.handled: Callable[[Message], None] = lambda _: None
        self.came = asyncio.Event()

    async def run(self) -> None:
        await self.context.consume(self._handle)

    def _handle(self, message: Message) -> None:
        self.handled(message)
        self.numbers.append(int(message.resource))
        self.came.set()

    async def send(self, *numbers: int) -> None:
        for number in numbers:
            await self.sender.send("b", numbered(number))

    async def has(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.numbers) < count:
                self.came.clear()
                await self.came.wait()

    @property
    def waiting(self) -> int:
        return self.context.registry.mailbox("b").inbox.qsize()


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    contexts = open_contexts({"a": "x", "b": "x"})
    yield Consumer(contexts)
    for context in contexts.values():
        context.close()


@pytest.mark.parametrize("count", [1, 2, 3, _TURN - 1, _TURN, _TURN + 1, 3 * _TURN])
async def test_all_come_in_order_and_what_comes_later_too(consumer: Consumer, count: int) -> None:
    running = asyncio.create_task(consumer.run())
    for round_ in range(3):
        await consumer.send(*range(round_ * count, round_ * count + count))
        await consumer.has(round_ * count + count)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert consumer.waiting == 0
    assert consumer.numbers == list(range(3 * count))
    consumer.context.stop()
    await asyncio.wait_for(running, DEADLINE)


async def test_what_came_before_it_began_is_handed_over(consumer: Consumer) -> None:
    await consumer.send(0, 1)
    running = asyncio.create_task(consumer.run())
    await consumer.has(2)
    consumer.context.stop()
    await asyncio.wait_for(running, DEADLINE)
    assert consumer.waiting == 0


async def test_others_have_their_turn_among_many(consumer: Consumer) -> None:
    seen: list[int] = []

    async def look() -> None:
        while len(consumer.numbers) < 10 * _TURN:
            seen.append(len(consumer.numbers))
            await asyncio.sleep(0)

    await consumer.send(*range(10 * _TURN))
    looking = asyncio.create_task(look())
    running = asyncio.create_task(consumer.run())
    await asyncio.wait_for(looking, DEADLINE)
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert 0 < max(steps) <= _TURN
    consumer.context.stop()
    await asyncio.wait_for(running, DEADLINE)


async def test_what_the_handler_raises_is_raised_and_its_message_stays(consumer: Consumer) -> None:
    def fail_at_second(message: Message) -> None:
        if message.resource == "1":
            raise ValueError("no")

    consumer.handled = fail_at_second
    await consumer.send(0, 1, 2)
    with pytest.raises(ValueError, match="no"):
        await asyncio.wait_for(consumer.run(), DEADLINE)
    assert consumer.numbers == [0]
    assert consumer.waiting == 2


async def test_nothing_more_is_handed_over_when_it_is_to_stop(consumer: Consumer) -> None:
    consumer.handled = lambda _: consumer.context.stop()
    await consumer.send(0, 1)
    await asyncio.wait_for(consumer.run(), DEADLINE)
    assert consumer.numbers == [0]
    assert consumer.waiting == 1


async def test_a_consumer_that_is_cancelled_leaves_the_rest_to_others(consumer: Consumer) -> None:
    running = asyncio.create_task(consumer.run())
    await consumer.send(0)
    await consumer.has(1)
    running.cancel()
    await asyncio.wait([running])
    receiving = asyncio.create_task(consumer.context.receive())
    await asyncio.sleep(0)
    await consumer.send(1)
    assert (await asyncio.wait_for(receiving, DEADLINE)).resource == "1"
    assert consumer.numbers == [0]


@pytest.mark.timeout(120)
async def test_no_wake_up_is_lost_between_processes(consumer: Consumer) -> None:
    """Each burst is sent after the one before has been handled: a lost wake-up would hang it."""
    rounds = [random.choice((1, 1, 1, 2, 3, _TURN, _TURN + 1)) for _ in range(2000)]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            target = consumer.context.registry.mailbox("b").inbox
            for count in rounds:
                for number in range(count):
                    target.put(numbered(number))
                for _ in range(count):
                    os.read(reading, 1)
        finally:
            os._exit(0)
    try:
        consumer.handled = lambda _: os.write(writing, b".") and None
        running = asyncio.create_task(consumer.run())
        await consumer.has(sum(rounds))
        consumer.context.stop()
        await asyncio.wait_for(running, DEADLINE)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - the process was killed
        os.close(reading)
        os.close(writing)

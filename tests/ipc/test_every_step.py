"""The death of a sender and of a reader at each of its steps, one after the other.

Most deaths are simulated in this process, as in tests/ipc/test_model.py, which takes a tenth of
the time of a fork. One step in SAMPLE is a SIGKILL of a process of its own, and every step in
`make crash-ipc`.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipc import AsyncContext, Channel, ChannelRegistry, Context, DeadLetterBox, Message
from ipc.ring.layout import HEAD, KEPT, MAX_CAPACITY, RING, TAIL
from tests.ipc import steps

COUNT = 3

#: Where a step takes long, `make test` tries some of them and `make crash-ipc` all.
QUICK = "KILLS" not in os.environ
DEADLINE = 300 if QUICK else 1800

#: `make test` kills a process at one in SAMPLE of the steps that it tries. The offset differs
#: from test to test with the order of steps, so that together they cover the code.
SAMPLE = 12


def numbered(number: int, size: int = 20) -> Message:
    return Message.build("test", "g", "update", str(number), "x" * size)


def survive(child: Callable[[], Any], step: int, *channels: Channel) -> bool:
    """Kill the child at this step; return whether it was reached.

    `channels` are those that the child uses. Without them it is always killed in a process of its
    own, since locks that it creates would stay locked here.
    """
    if QUICK and channels and step % SAMPLE:
        return end_here(child, step, channels)
    pid = os.fork()
    if pid == 0:
        try:
            steps.run_until(step, child, at_step=steps.kill)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def end_here(child: Callable[[], Any], step: int, channels: tuple[Channel, ...]) -> bool:
    """End the child's work in this process, which then uses the channels as a successor."""
    try:
        steps.run_until(step, child, at_step=steps.end)
    except steps.Ended:
        return True
    finally:
        for channel in channels:
            channel._begin()
    return False


def every_step(stride: int) -> Iterator[int]:
    """Yield the numbers of steps, without end; in `make test` only each `stride`-th."""
    gc.collect()
    gc.freeze()
    for step in itertools.count(1, stride if QUICK else 1):
        yield step
        if step % 64 == 0:
            gc.collect()  # channels of earlier steps


@pytest.fixture
def ledger() -> memoryview:
    return memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")


def drained(channel: Channel) -> list[Message]:
    found = []
    while (message := channel.try_get()) is not None:
        found.append(message)
    return found


def at_lap_s_end(channel: Channel) -> None:
    """Make the next message the first of a new lap."""
    words = channel._segment.slot(0).words
    words[TAIL] = words[HEAD] = words[HEAD + 1] = RING - 64


def as_new(_channel: Channel) -> None:
    pass


@pytest.mark.timeout(DEADLINE)
@pytest.mark.parametrize(("size", "stride"), [(20, 5), (2 * KEPT, 40)], ids=["small", "large"])
@pytest.mark.parametrize("prepare", [as_new, at_lap_s_end])
def test_a_sender_killed_at_any_step_loses_nothing_that_was_sent(
    ledger: memoryview, prepare: Callable[[Channel], None], size: int, stride: int
) -> None:
    for step in every_step(stride):
        channel = Channel("inbox", capacity=MAX_CAPACITY)
        prepare(channel)
        ledger[0] = 0

        def send(channel: Channel = channel) -> None:
            for number in range(COUNT):
                channel.put(numbered(number, size), block=False)
                ledger[0] = number + 1

        killed = survive(send, step, channel)
        sent = ledger[0]
        numbers = list(range(COUNT, COUNT + 3))
        for number in numbers:
            channel.put(numbered(number, size), block=False)
        found = [int(message.resource) for message in drained(channel)]
        begun = list(range(sent))
        assert found in ([*begun, *numbers], [*begun, sent, *numbers]), f"killed at step {step}"
        assert channel.statistics().senders == 1
        if not killed:
            assert sent == COUNT
            return


@pytest.mark.timeout(DEADLINE)
@pytest.mark.parametrize(("size", "stride"), [(20, 11), (40_000, 23)], ids=["small", "large"])
@pytest.mark.parametrize("prepare", [as_new, at_lap_s_end])
def test_a_sender_of_many_killed_at_any_step_sent_whole_batches(
    ledger: memoryview, prepare: Callable[[Channel], None], size: int, stride: int
) -> None:
    together = COUNT if size == 20 else 1
    for step in every_step(stride):
        channel = Channel("inbox")
        prepare(channel)
        ledger[0] = 0

        def send(channel: Channel = channel) -> None:
            channel.put_many([numbered(number, size) for number in range(COUNT)], timeout=0)
            ledger[0] = COUNT

        killed = survive(send, step, channel)
        channel.put_many([numbered(9, size), numbered(10, size)])
        found = [int(message.resource) for message in drained(channel)]
        sent = len(found) - 2
        assert found == [*range(sent), 9, 10], f"killed at step {step}"
        assert sent % together == 0
        assert ledger[0] <= sent <= COUNT
        assert channel.statistics().senders == 1
        if not killed:
            assert ledger[0] == COUNT
            return


def test_a_sender_killed_while_it_waits_for_room_loses_nothing(ledger: memoryview) -> None:
    for step in every_step(11):
        channel = Channel("inbox", capacity=4096)

        def fill(channel: Channel = channel) -> None:
            number = 0
            while True:
                try:
                    channel.put(numbered(number, 1000), timeout=0.001)
                except TimeoutError:
                    return
                number += 1
                ledger[0] = number

        killed = survive(fill, step, channel)
        found = [int(message.resource) for message in drained(channel)]
        assert found in (list(range(ledger[0])), list(range(ledger[0] + 1)))
        channel.put(numbered(9, 1000), timeout=0)
        assert [message.resource for message in drained(channel)] == ["9"]
        if not killed:
            return


def one_by_one(channel: Channel, messages: list[Message]) -> None:
    for message in messages:
        channel.put(message)


def get_all(channel: Channel, ledger: memoryview) -> None:
    while (message := channel.try_get()) is not None:
        ledger[1 + int(message.resource)] += 1
        ledger[0] += 1


def get_many(channel: Channel, ledger: memoryview) -> None:
    while messages := channel.try_get_many():
        for message in messages:
            ledger[1 + int(message.resource)] += 1


def take_all(channel: Channel, ledger: memoryview) -> None:
    """Take all messages, and acknowledge them in another order."""
    held = []
    while (delivery := channel.receiver.try_take()) is not None:
        ledger[1 + int(delivery.message.resource)] += 1
        held.append(delivery)
    for delivery in (*held[1::2], *held[::2]):
        delivery.done()
        ledger[32 + int(delivery.message.resource)] = 1
    channel.try_get()


def reading(channel: Channel) -> AsyncContext:
    """Return the context of a module whose inbox is this channel."""
    registry = ChannelRegistry()
    registry.add_module("reader")
    mailbox = registry.mailbox("reader")
    registry.mailboxes["reader"] = type(mailbox)("", 0, channel, mailbox.answers)
    return AsyncContext(registry, "reader")


def consume_all(channel: Channel, ledger: memoryview) -> None:
    """Consume all messages in an event loop."""

    async def main() -> None:
        context = reading(channel)

        def handle(message: Message) -> None:
            ledger[1 + int(message.resource)] += 1
            if int(message.resource) == COUNT - 1:
                context.stop()

        await context.consume(handle)
        context.close()

    asyncio.run(main())


def take_in_a_loop(channel: Channel, ledger: memoryview) -> None:
    """Do as `take_all` does, with an AsyncContext."""

    async def main() -> None:
        context = reading(channel)
        held = [await context.take(5) for _ in range(COUNT)]
        for delivery in held:
            ledger[1 + int(delivery.message.resource)] += 1
        for delivery in reversed(held):
            delivery.done()
            ledger[32 + int(delivery.message.resource)] = 1
        context.close()

    asyncio.run(main())


#: An event loop takes what ends a step for a fault of one callback.
IN_A_LOOP = (take_in_a_loop, consume_all)


@pytest.mark.timeout(DEADLINE)
@pytest.mark.parametrize(
    ("put", "read", "stride"),
    [
        (one_by_one, get_all, 5),
        (one_by_one, get_many, 11),
        (one_by_one, take_all, 11),
        (one_by_one, take_in_a_loop, 40),
        (one_by_one, consume_all, 40),
        (Channel.put_many, get_all, 11),
        (Channel.put_many, get_many, 11),
        (Channel.put_many, take_all, 23),
    ],
    ids=["get", "many", "take", "async", "consume", "batch-get", "batch-many", "batch-take"],
)
@pytest.mark.parametrize("prepare", [as_new, at_lap_s_end])
def test_a_reader_killed_at_any_step_loses_nothing(
    ledger: memoryview,
    put: Callable[[Channel, list[Message]], None],
    read: Callable[[Channel, memoryview], None],
    stride: int,
    prepare: Callable[[Channel], None],
) -> None:
    for step in every_step(stride):
        channel = Channel("inbox", max_deliveries=9)
        prepare(channel)
        put(channel, [numbered(number) for number in range(COUNT)])
        ledger[:64] = memoryview(bytes(64 * 8)).cast("Q")
        here = () if read in IN_A_LOOP else (channel,)
        killed = survive(lambda c=channel: read(c, ledger), step, *here)  # type: ignore[misc]
        rest = drained(channel)
        numbers = [int(message.resource) for message in rest]
        assert numbers == sorted(set(numbers)), f"killed at step {step}"
        for message in rest:
            number = int(message.resource)
            assert not ledger[32 + number], f"{number} was done, and came again: step {step}"
            assert message.redelivered >= ledger[1 + number]
        handed_out = {n for n in range(COUNT) if ledger[1 + n]}
        assert handed_out | set(numbers) == set(range(COUNT)), f"killed at step {step}"
        if not killed:
            assert len(handed_out) == COUNT
            return


@pytest.mark.timeout(DEADLINE)
def test_a_reader_killed_while_it_sets_a_message_aside_loses_none(tmp_path: Path) -> None:
    for step in every_step(11):
        letters = tmp_path / str(step)
        channel = Channel("inbox", max_deliveries=1, dead_letters=letters)
        for number in range(2):
            channel.put(numbered(number))
        survive(lambda c=channel: c.try_get(), 10**9, channel)  # type: ignore[misc]
        # The process has ended with the message in flight.
        killed = survive(lambda c=channel: c.try_get(), step, channel)  # type: ignore[misc]
        rest = {message.resource for message in drained(channel)}
        kept = DeadLetterBox(letters).letters()
        assert {"0", "1"} == rest | {letter.resource for letter in kept}, f"killed at step {step}"
        assert len({letter.id for letter in kept}) == len(kept) <= 2
        assert kept[0].resource == "0"
        if not killed:
            return


@pytest.mark.timeout(DEADLINE)
def test_who_asks_or_answers_may_be_killed_at_any_step_of_it() -> None:
    """The survivor gets an error or continues; the channels of neither side are damaged."""
    registry = ChannelRegistry()
    for name in ("a", "b"):
        registry.add_module(name)
    inbox = registry.mailbox("b").inbox

    def ask() -> None:
        Context(registry, "a").send_sync("b", numbered(0), 0)

    for step in every_step(11):
        try:
            killed = survive(ask, step)
        except TimeoutError:
            killed = False
        inbox.put(numbered(1))
        found = sorted(message.resource for message in drained(inbox))
        assert found in (["1"], ["0", "1"]), f"killed at step {step}"
        if not killed:
            return


def test_every_store_of_a_writer_is_a_step() -> None:
    """The trace function sees the instructions of ipc."""
    channel = Channel("inbox")
    few = steps.run_until(-1, lambda: None, at_step=steps.end)
    some = steps.run_until(-1, lambda: channel.put(numbered(0)), at_step=steps.end)
    assert few == 0
    assert some > 100

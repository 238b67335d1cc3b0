"""SIGKILL of readers and writers at random moments under full load.

`KILLS` in the environment says how many (`make crash-ipc KILLS=1000` for the long run).
"""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ipc import AsyncContext, Channel, ChannelRegistry, Delivery, Message
from tests.ipc.processes import Start
from tests.support.waiting import block_until

KILLS = int(os.environ.get("KILLS", "40"))
WRITERS = 2
CONTENT = "x" * 220

# Words of the ledger, which is shared memory. A writer records a number before it sends it and
# after: a writer that was killed in between may or may not have sent it. The reader records the
# last number that it has handled of each writer.
STOP, LOST, UNMARKED, HANDLED = 0, 1, 2, 3
ABOUT, SENT, LAST, DOUBTS = 8, 16, 24, 32
DOUBT = 64  # for each writer, ranges of numbers that may or may not have been sent
WORDS = DOUBT + 2 * WRITERS * KILLS


def write(channel: Channel, ledger: Any, writer: int, most: int) -> None:
    """Send numbers, up to `most` at a time; the last ones of a killed sender are in doubt."""
    dice = random.Random(os.getpid())
    if ledger[ABOUT + writer] > ledger[SENT + writer]:
        note_doubt(ledger, writer)
    while not ledger[STOP]:
        first = ledger[SENT + writer] + 1
        last = first + dice.randrange(most)
        messages = [
            Message.build(str(writer), "g", "update", str(number), CONTENT)
            for number in range(first, last + 1)
        ]
        ledger[ABOUT + writer] = last
        put = channel.putting(messages, writer) if most > 1 else None
        while not (put() if put else channel.try_put(messages[0], writer)):
            os.sched_yield()
        ledger[SENT + writer] = last


def note_doubt(ledger: Any, writer: int) -> None:
    place = DOUBT + 2 * (writer * KILLS + ledger[DOUBTS + writer])
    ledger[place], ledger[place + 1] = ledger[SENT + writer] + 1, ledger[ABOUT + writer] + 1
    ledger[DOUBTS + writer] += 1
    ledger[SENT + writer] = ledger[ABOUT + writer]


def get(channel: Channel, ledger: Any) -> None:
    while True:
        handle(channel.get(), ledger)


def get_many(channel: Channel, ledger: Any) -> None:
    while True:
        for message in channel.try_get_many():
            handle(message, ledger)


def take(channel: Channel, ledger: Any) -> None:
    """Take up to 16 messages at a time, and acknowledge them in any order."""
    receiver = channel.receiver
    dice = random.Random(os.getpid())
    while True:
        held = []
        while len(held) < 16 and (delivery := receiver.try_take()) is not None:
            held.append(delivery)
            handle(delivery.message, ledger)
        dice.shuffle(held)
        for delivery in held:
            delivery.done()


def take_in_a_loop(channel: Channel, ledger: Any) -> None:
    """Handle up to 16 messages at a time, as tasks of an event loop."""

    async def handled(delivery: Delivery, room: asyncio.Semaphore) -> None:
        await asyncio.sleep(0)
        delivery.done()
        room.release()

    async def main() -> None:
        registry = ChannelRegistry()
        registry.add_module("reader")
        registry.mailboxes["reader"] = replace(registry.mailbox("reader"), inbox=channel)
        context = AsyncContext(registry, "reader")
        room = asyncio.Semaphore(16)
        tasks = set()
        while True:
            await room.acquire()
            delivery = await context.take()
            handle(delivery.message, ledger)
            task = asyncio.create_task(handled(delivery, room))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    asyncio.run(main())


def handle(message: Message, ledger: Any) -> None:
    writer, number = int(message.source), int(message.resource)
    last = ledger[LAST + writer]
    if number <= last:
        ledger[UNMARKED] += message.redelivered == 0
        return
    if number > last + 1:
        ledger[LOST] += len(set(range(last + 1, number)) - doubts(ledger, writer))
    ledger[LAST + writer] = number
    ledger[HANDLED] += 1


def doubts(ledger: Any, writer: int) -> set[int]:
    first = DOUBT + 2 * writer * KILLS
    words = ledger[first : first + 2 * ledger[DOUBTS + writer]]
    return {
        n for begin, end in zip(words[::2], words[1::2], strict=True) for n in range(begin, end)
    }


@pytest.mark.timeout(60 + KILLS)
@pytest.mark.parametrize(
    ("read", "most"),
    [(get, 1), (take, 1), (take_in_a_loop, 1), (get_many, 100), (take, 100)],
)
def test_nothing_is_lost_or_stuck_and_only_marked_messages_come_twice(
    start: Start, read: Callable[[Channel, Any], None], most: int
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    ledger = memoryview(mmap.mmap(-1, 8 * WORDS)).cast("Q")
    channel = Channel("inbox", max_deliveries=255)
    begin = [lambda: start(read, channel, ledger)]
    begin += [lambda w=writer: start(write, channel, ledger, w, most) for writer in range(WRITERS)]  # type: ignore[misc]
    processes = [each() for each in begin]
    for _ in range(KILLS):
        time.sleep(dice.expovariate(1 / 0.02))  # a random moment is the point
        victim = dice.randrange(len(processes))
        processes[victim].kill()
        processes[victim].join(10)
        processes[victim] = begin[victim]()
    before = ledger[HANDLED]
    block_until(lambda: ledger[HANDLED] > before + 1000, "the reader to go on", interval=0)
    ledger[STOP] = 1
    for writer in processes[1:]:
        writer.join(10)
        assert writer.exitcode == 0
    block_until(lambda: everything_arrived(ledger), "everything to arrive", interval=0)
    print(f"{KILLS} kills, {ledger[HANDLED]} messages, {channel.statistics()}")
    assert (ledger[LOST], ledger[UNMARKED]) == (0, 0)


def everything_arrived(ledger: Any) -> bool:
    """All sent messages are handled, except those of which it is unknown whether they were sent."""
    return all(
        set(range(ledger[LAST + w] + 1, ledger[SENT + w] + 1)) <= doubts(ledger, w)
        for w in range(WRITERS)
    )

"""The capacity of a sender, wherever in its ring it is."""

from __future__ import annotations

import mmap
import os
from typing import Any

import pytest

from ipc import Channel, Message
from ipc.ring.layout import MAX_CAPACITY, MIB, SKIPPED, TAIL
from tests.ipc.processes import Start

SIZE = 500_000


def sized(number: int, size: int) -> Message:
    return Message.build("test", "g", "update", str(number), "x" * size)


def pass_on(channel: Channel, count: int, size: int = SIZE) -> None:
    for number in range(count):
        channel.put(sized(number, size), block=False)
        assert channel.get_nowait().resource == str(number)
        assert channel.try_get() is None


@pytest.mark.parametrize("capacity", [64 * 1024, MIB, 8 * MIB, MAX_CAPACITY])
@pytest.mark.parametrize("passed", [0, 1, 3, 17, 43, 79, 83])
def test_the_capacity_may_wait_wherever_the_ring_s_end_is(capacity: int, passed: int) -> None:
    """The unused end of a lap takes none of the capacity."""
    channel = Channel("inbox", capacity=capacity)
    pass_on(channel, passed)
    size = capacity // 16
    sent = 0
    while channel.try_put(sized(sent, size)):
        sent += 1
    record = len(sized(0, size).content) + 200
    assert sent * record > capacity - record
    seen = channel.statistics()
    assert seen.messages == sent
    assert seen.bytes <= capacity
    assert [channel.get_nowait().resource for _ in range(sent)] == [str(n) for n in range(sent)]
    assert channel.try_get() is None
    assert channel.statistics().dead_letters == 0


def test_a_sender_is_full_only_when_its_messages_fill_the_capacity() -> None:
    channel = Channel("inbox", capacity=MIB)
    pass_on(channel, 5)
    channel.put(sized(0, 10))
    assert not channel.full()
    assert channel.statistics().bytes < 1024


def test_a_lap_that_a_killed_sender_did_not_begin_is_not_begun(start: Start) -> None:
    channel = Channel("inbox")
    start(pass_on, channel, 1, 1000).join(10)
    words = channel._segment.slot(0).words
    words[SKIPPED] = words[TAIL] + 1
    channel.put(sized(7, 10))
    assert channel.get_nowait().resource == "7"


def send_to_slot(channel: Channel, slot: int) -> None:
    for number in range(5000):
        while not channel.try_put(sized(number, 100), slot):
            os.sched_yield()


def test_a_message_that_needs_all_the_room_passes_while_another_sender_floods(
    start: Start,
) -> None:
    channel = Channel("inbox", capacity=64 * 1024)
    flood = start(send_to_slot, channel, 5)
    channel.get(timeout=10)
    channel.put(sized(-1, 1000))
    while channel.get(timeout=10).resource != "-1":
        pass
    for _ in range(200):  # until it is the turn of this process's slot again
        channel.get(timeout=10)
    channel.put(sized(-2, 200_000), block=False)
    assert flood.is_alive() or channel.qsize() > 0


def put_one(channel: Channel, ledger: Any) -> None:
    channel.put(sized(0, 1000))
    ledger[0] = 1


def fill(channel: Channel, ledger: Any) -> None:
    while channel.try_put(sized(ledger[0], 1000)):
        ledger[0] += 1


def test_a_sender_s_replacement_has_the_same_room(start: Start) -> None:
    channel = Channel("inbox", capacity=MIB)
    ledger = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
    start(pass_on, channel, 3).join(10)
    start(put_one, channel, ledger).join(10)
    start(fill, channel, ledger).join(10)
    seen = channel.statistics()
    assert (seen.messages, seen.senders) == (ledger[0], 1)
    assert MIB - 2000 < seen.bytes <= MIB


def test_who_still_waits_for_room_is_told_after_another_has_given_up() -> None:
    channel = Channel("inbox", capacity=MIB)
    while channel.try_put(sized(0, 1000)):
        pass
    waits, gives_up = channel.await_room(), channel.await_room()
    channel.forget_room(gives_up)
    while channel.try_get():
        pass
    assert waits.wait(0)
    channel.forget_room(waits)


def send_in_order(channel: Channel, count: int) -> None:
    for number in range(count):
        channel.put(sized(number, 1000))


def test_senders_take_turns_however_much_one_of_them_has_sent(start: Start) -> None:
    channel = Channel("inbox")
    start(send_in_order, channel, 1000).join(10)
    channel.try_put(sized(-1, 10), prefer_slot=5)
    before = 0
    while channel.get_nowait().resource != "-1":
        before += 1
    assert before < 64 * 1024 / 1000

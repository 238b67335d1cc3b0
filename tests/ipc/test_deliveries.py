"""Messages that were in flight when their reader died."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
import time
from pathlib import Path

import pytest

from ipc import AsyncContext, Channel, ChannelRegistry, Context, DeadLetterBox, Delivery, Message
from ipc.ring.signals import EventFdWatch
from tests.ipc.processes import Start

POISON = "4"


def numbered(number: int) -> Message:
    return Message.build("test", "g", "update", str(number), "x" * number)


def fill(channel: Channel, count: int) -> None:
    for number in range(count):
        channel.put(numbered(number))


def take(channel: Channel) -> Delivery:
    delivery = channel.receiver.try_take()
    assert delivery is not None
    return delivery


def take_all_and_die_of_poison(channel: Channel, handled: Channel) -> None:
    """Take all messages, as an asyncio module does, and die of the poison message after that."""
    while True:
        held = []
        while (delivery := channel.receiver.try_take()) is not None:
            held.append(delivery)
        if not held:
            return
        if any(delivery.message.resource == POISON for delivery in held):
            os.kill(os.getpid(), signal.SIGKILL)
        for delivery in held:
            handled.put(delivery.message)
            delivery.done()


@pytest.mark.parametrize("max_deliveries", [1, 2, 3, 5])
def test_only_the_message_that_kills_becomes_a_dead_letter(
    start: Start, tmp_path: Path, max_deliveries: int
) -> None:
    channel = Channel("inbox", max_deliveries=max_deliveries, dead_letters=tmp_path)
    handled = Channel("handled")
    fill(channel, 10)
    exits = []
    while not channel.empty():
        reader = start(take_all_and_die_of_poison, channel, handled)
        reader.join(20)
        exits.append(reader.exitcode)
    assert exits == [-signal.SIGKILL] * max_deliveries + [0]
    (letter,) = DeadLetterBox(tmp_path).letters()
    assert (letter.resource, letter.deliveries) == (POISON, max_deliveries)
    got = [handled.get_nowait() for _ in range(9)]
    assert [message.resource for message in got] == [str(n) for n in range(10) if str(n) != POISON]
    assert all(message.redelivered < max_deliveries for message in got)
    with pytest.raises(queue.Empty):
        handled.get_nowait()


def test_a_message_with_one_chance_left_is_handed_out_alone(start: Start) -> None:
    channel = Channel("inbox", max_deliveries=2)
    fill(channel, 6)
    start(lambda: [take(channel) for _ in range(2)]).join(10)
    first = take(channel)
    assert (first.message.resource, first.message.redelivered) == ("0", 1)
    assert channel.receiver.try_take() is None
    assert not channel.receiver.pending()
    first.done()
    second = take(channel)
    assert (second.message.resource, second.message.redelivered) == ("1", 1)
    assert channel.receiver.try_take() is None
    second.done()
    assert [take(channel).message.resource for _ in range(4)] == ["2", "3", "4", "5"]


def test_what_was_taken_before_is_done_before_a_last_chance(start: Start) -> None:
    channel = Channel("inbox", max_deliveries=2)
    start(channel.put, numbered(0)).join(10)
    start(lambda: take(channel)).join(10)
    held = start(send_from_another_slot, channel)
    held.join(10)
    taken = [channel.receiver.try_take() for _ in range(3)]
    resources = [delivery.message.resource for delivery in taken if delivery]
    assert resources == ["0"]
    assert taken[0] is not None
    taken[0].done()
    assert take(channel).message.resource == "7"


def send_from_another_slot(channel: Channel) -> None:
    channel.try_put(numbered(7), prefer_slot=5)


def test_a_blocking_take_wakes_when_the_message_before_is_done(start: Start) -> None:
    registry = ChannelRegistry(max_deliveries=1)
    registry.add_module("a")
    inbox = registry.mailbox("a").inbox
    fill(inbox, 2)
    told = Channel("told")
    start(take_in_two_threads, registry, told)
    assert [told.get(timeout=10).resource for _ in range(2)] == ["0", "1"]


def take_in_two_threads(registry: ChannelRegistry, told: Channel) -> None:
    context = Context(registry, "a")
    first = context.take(10)
    told.put(first.message)
    # `done` is usually called while the other thread waits; either order has to work.
    threading.Timer(0.05, first.done).start()
    told.put(context.take(10).message)
    signal.pause()


async def test_an_awaited_take_wakes_when_the_message_before_is_done() -> None:
    registry = ChannelRegistry(max_deliveries=1)
    registry.add_module("a")
    fill(registry.mailbox("a").inbox, 3)
    context = AsyncContext(registry, "a")
    first = await context.take(10)
    second = asyncio.create_task(context.take(10))
    while not context._inbox or context._mailbox.inbox.receiver._words[8] == 0:
        await asyncio.sleep(0)
    assert not second.done()
    first.done()
    assert (await second).message.resource == "1"
    context.close()


def test_done_said_twice_counts_once() -> None:
    channel = Channel("inbox")
    fill(channel, 3)
    first, second = take(channel), take(channel)
    for done in (second, second, first, first, second):
        done.done()
    seen = channel.statistics()
    assert (seen.messages, seen.received_total) == (1, 2)
    assert take(channel).message.resource == "2"


def test_the_room_of_what_is_done_in_any_order_is_given_back() -> None:
    channel = Channel("inbox", capacity=64 * 1024)
    for _ in range(3):
        sent = 0
        while channel.try_put(numbered(1000)):
            sent += 1
        for delivery in reversed([take(channel) for _ in range(sent)]):
            delivery.done()
        assert channel.statistics().bytes == 0
        assert channel.try_get() is None


def test_being_done_wakes_a_reader_only_if_something_was_held_back() -> None:
    channel = Channel("inbox", max_deliveries=1)
    fill(channel, 3)
    watch = EventFdWatch(channel._arrived)
    take(channel).done()
    assert not watch.wait(0)
    second = take(channel)
    assert channel.receiver.try_take() is None
    second.done()
    assert watch.wait(0)


def test_a_letter_that_cannot_be_written_leaves_the_message_in_the_channel(
    start: Start, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "letters"
    in_the_way.touch()
    channel = Channel("inbox", max_deliveries=1, dead_letters=in_the_way)
    fill(channel, 2)
    start(channel.get_nowait).join(10)
    for _ in range(2):
        with pytest.raises(FileExistsError):
            channel.get_nowait()
    assert channel.qsize() == 2
    in_the_way.unlink()
    assert channel.get_nowait().resource == "1"
    assert [letter.resource for letter in DeadLetterBox(in_the_way).letters()] == ["0"]


def hold_three_and_do_one(channel: Channel, told: Channel) -> None:
    held = [take(channel) for _ in range(3)]
    held[1].done()
    told.put(numbered(0))
    signal.pause()


def test_another_process_sees_what_is_in_flight(start: Start) -> None:
    channel, told = Channel("inbox"), Channel("told")
    fill(channel, 6)
    assert channel.in_flight() == []
    reader = start(hold_three_and_do_one, channel, told)
    told.get(timeout=10)
    living = channel.in_flight()
    assert [(held.resource, held.deliveries) for held in living] == [("0", 1), ("2", 1)]
    assert {(held.source, held.operation) for held in living} == {("test", "update")}
    assert all(held.id for held in living)
    reader.kill()
    reader.join(10)
    assert channel.in_flight() == living
    taken = [take(channel) for _ in range(4)]
    assert [(held.resource, held.deliveries) for held in channel.in_flight()] == [
        ("0", 2),
        ("2", 2),
        ("3", 1),
        ("4", 1),
    ]
    for delivery in taken:
        delivery.done()
    assert channel.in_flight() == []


def test_after_a_second_death_only_what_was_in_flight_then_is_returned(start: Start) -> None:
    channel = Channel("inbox", max_deliveries=2)
    fill(channel, 4)
    start(lambda: [take(channel) for _ in range(3)]).join(10)
    start(lambda: take(channel)).join(10)
    assert [(held.resource, held.deliveries) for held in channel.in_flight()] == [("0", 2)]


def test_what_a_get_has_returned_is_in_flight_until_the_next(start: Start) -> None:
    channel = Channel("inbox")
    fill(channel, 2)
    channel.get_nowait()
    assert [held.resource for held in channel.in_flight()] == ["0"]
    channel.get_nowait()
    assert [held.resource for held in channel.in_flight()] == ["1"]
    with pytest.raises(queue.Empty):
        channel.get_nowait()
    assert channel.in_flight() == []


def test_a_message_that_is_done_while_one_looks_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = Channel("inbox")
    fill(channel, 3)
    channel.get_nowait()
    monkeypatch.setattr("ipc.ring.in_flight.fence", channel.try_get)
    assert channel.in_flight() == []


def get_for_ever(channel: Channel) -> None:
    while True:
        channel.get()


def send_for_ever(channel: Channel) -> None:
    number = 0
    while True:
        number = (number + 1) % 50_000
        channel.put(numbered(number))


def test_looking_while_messages_fly_shows_only_real_ones(start: Start) -> None:
    """Records are overwritten while another process reads them: it returns only true records."""
    channel = Channel("inbox", capacity=256 * 1024)
    start(send_for_ever, channel)
    start(get_for_ever, channel)
    seen: set[str] = set()
    deadline = time.monotonic() + 60
    while len(seen) < 200:
        assert time.monotonic() < deadline
        for held in channel.in_flight():
            assert (held.source, held.operation, held.deliveries) == ("test", "update", 1)
            assert 0 <= int(held.resource) < 50_000
            seen.add(held.resource)

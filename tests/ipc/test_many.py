"""Batches: many messages sent and received at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipc import (
    AsyncContext,
    Channel,
    ChannelFull,
    ChannelRegistry,
    ChannelState,
    Closed,
    Context,
    DeadLetterBox,
    Message,
    MessageTooLarge,
    ModuleUnavailable,
    NotAMessage,
    Timeout,
    UnknownModule,
)
from ipc.message import encode
from ipc.ring import in_flight, layout
from ipc.ring.layout import BATCH, FREED, HEAD, MAX_CAPACITY, RING, SKIPPED, TAIL, record_size
from tests.ipc.processes import Start

POISON = "4"


def numbered(number: int, content: Any = "x") -> Message:
    return Message.build("test", "g", "update", str(number), content)


def many(count: int) -> list[Message]:
    return [numbered(number, "x" * (number % 300)) for number in range(count)]


def numbers(messages: list[Message]) -> list[int]:
    return [int(message.resource) for message in messages]


def received(channel: Channel) -> list[int]:
    found: list[int] = []
    while messages := channel.try_get_many(1000):
        found += numbers(messages)
    return found


def get_one_by_one(channel: Channel) -> list[int]:
    found = []
    while message := channel.try_get():
        found.append(int(message.resource))
    return found


@pytest.fixture
def registry() -> ChannelRegistry:
    made = ChannelRegistry(capacity=64 * 1024)
    for name in ("a", "b"):
        made.add_module(name)
    return made


@pytest.mark.parametrize("receive", [received, get_one_by_one])
@pytest.mark.parametrize("count", [0, 1, 15, 16, BATCH, BATCH + 1, 1000])
def test_what_was_sent_at_once_comes_whole_and_in_order(
    count: int, receive: Callable[[Channel], list[int]]
) -> None:
    channel = Channel("inbox")
    channel.put(numbered(-1))
    channel.put_many(many(count))
    channel.put(numbered(count))
    assert channel.statistics().messages == count + 2
    assert receive(channel) == list(range(-1, count + 1))
    assert channel.empty()
    assert channel.statistics().bytes == 0


def test_each_message_is_equal_to_what_was_sent() -> None:
    channel = Channel("inbox")
    sent = [numbered(n, {"list": [n, None, True, 1.5], "bytes": b"\0\xff"}) for n in range(100)]
    channel.put_many(sent)
    found = [message for _ in range(100) for message in channel.try_get_many(7)]
    assert found == sent


def put_one_by_one(channel: Channel, messages: list[Message]) -> None:
    for message in messages:
        channel.put(message)


@pytest.mark.parametrize("put", [Channel.put_many, put_one_by_one])
def test_all_that_was_received_is_acknowledged_by_the_next_receiving(
    start: Start, put: Callable[[Channel, list[Message]], None]
) -> None:
    channel = Channel("inbox")
    put(channel, many(10))

    def receive_some_and_end() -> None:
        assert numbers(channel.try_get_many(3)) == [0, 1, 2]
        assert numbers(channel.try_get_many(4)) == [3, 4, 5, 6]

    start(receive_some_and_end).join(10)
    assert [item.resource for item in channel.in_flight()] == ["3", "4", "5", "6"]
    found: list[Message] = []
    while messages := channel.try_get_many():
        found += messages
    assert [(int(message.resource), message.redelivered) for message in found] == [
        *((n, 1) for n in range(3, 7)),
        *((n, 0) for n in range(7, 10)),
    ]


def test_what_was_taken_of_a_batch_is_acknowledged_one_by_one(start: Start) -> None:
    channel = Channel("inbox")
    channel.put_many(many(10))

    def be_done_with_the_even_ones() -> None:
        deliveries = [channel.receiver.try_take() for _ in range(6)]
        for delivery in deliveries[::2]:
            assert delivery
            delivery.done()

    start(be_done_with_the_even_ones).join(10)
    assert received(channel) == [1, 3, 5, 6, 7, 8, 9]
    assert channel.statistics().bytes == 0


@pytest.mark.parametrize("put", [Channel.put_many, put_one_by_one])
def test_what_is_received_behind_a_taken_message_is_acknowledged_before_it(
    start: Start, put: Callable[[Channel, list[Message]], None]
) -> None:
    channel = Channel("inbox")
    put(channel, many(6))

    def receive_behind_a_taken_one() -> None:
        channel.receiver.try_take()
        assert numbers(channel.try_get_many(3)) == [1, 2, 3]
        assert numbers(channel.try_get_many(1)) == [4]

    start(receive_behind_a_taken_one).join(10)
    assert channel.statistics().received_total == 3
    assert received(channel) == [0, 4, 5]
    assert channel.statistics().bytes == 0


def handle_many(channel: Channel, handled: Channel) -> None:
    while messages := channel.try_get_many():
        if POISON in {message.resource for message in messages}:
            os.kill(os.getpid(), signal.SIGKILL)
        for message in messages:
            handled.put(message)


@pytest.mark.parametrize("max_deliveries", [1, 2, 3])
def test_only_the_message_that_kills_becomes_a_dead_letter(
    start: Start, tmp_path: Path, max_deliveries: int
) -> None:
    channel = Channel("inbox", max_deliveries=max_deliveries, dead_letters=tmp_path)
    handled = Channel("handled")
    channel.put_many(many(100))
    exits = []
    while not channel.empty():
        reader = start(handle_many, channel, handled)
        reader.join(20)
        exits.append(reader.exitcode)
    assert exits == [-signal.SIGKILL] * max_deliveries + [0]
    (letter,) = DeadLetterBox(tmp_path).letters()
    assert (letter.resource, letter.deliveries) == (POISON, max_deliveries)
    assert letter.message().content == "xxxx"
    assert received(handled) == [n for n in range(100) if str(n) != POISON]


UNIT = 176


def sized(number: int, units: int) -> Message:
    """Return a message whose record takes a multiple of UNIT bytes."""
    message = numbered(number, "")
    while record_size(len(encode(message))) < units * UNIT:
        message.content += "x" * 8
    return message


@pytest.mark.parametrize("put", [Channel.put_many, put_one_by_one])
def test_what_earlier_laps_have_left_is_not_received_again(
    put: Callable[[Channel, list[Message]], None],
) -> None:
    """Records begin at the same places in each lap, and the laps end at different places."""
    channel = Channel("inbox", capacity=64 * 1024)
    dice = random.Random(1)
    words = channel._segment.slot(0).words
    sent, found, laps = 0, [], set()
    while len(laps) < 5:
        messages = [sized(sent + more, dice.choice([1, 1, 1, 9])) for more in range(5)]
        put(channel, messages)
        sent += len(messages)
        laps.add(words[SKIPPED])
        while channel.statistics().messages > 7:  # an empty slot would begin a lap of its own
            found += numbers(channel.try_get_many(4))
    found += received(channel)
    assert found == list(range(sent))


def test_a_batch_that_does_not_fit_before_the_ring_s_end_goes_behind_it() -> None:
    for before_the_end in range(0, 4096, 64):
        channel = Channel("inbox", capacity=MAX_CAPACITY)
        words = channel._segment.slot(0).words
        words[TAIL] = words[HEAD] = words[FREED] = RING - before_the_end
        channel.put_many(many(20))
        channel.put_many(many(20))
        assert received(channel) == [*range(20), *range(20)]


def test_bytes_that_are_no_batch_are_set_aside_and_what_follows_comes(tmp_path: Path) -> None:
    channel = Channel("inbox", dead_letters=tmp_path)
    channel._sender.put_batch((b"\xc1 this is not MessagePack", 2), channel._unavailable, 0)
    channel.put_many(many(3))
    assert received(channel) == [0, 1, 2]
    assert channel.statistics().dead_letters == 2


def test_one_bad_message_in_a_batch_harms_no_other(tmp_path: Path) -> None:
    channel = Channel("inbox", dead_letters=tmp_path)
    first, _, last = (encode(message) for message in many(3))
    channel._sender.put_batch((b"\x93" + first + b"\x01" + last, 3), channel._unavailable, 0)
    assert received(channel) == [0, 2]
    assert channel.statistics().dead_letters == 1


def test_an_error_says_how_many_were_sent_before_it(registry: ChannelRegistry) -> None:
    sender, reader = Context(registry, "a"), Context(registry, "b")
    with pytest.raises(NotAMessage, match="not JSON-like") as unfit:
        sender.send_many("b", [*many(70), numbered(70, object()), numbered(71)])
    assert unfit.value.__notes__ == ["70 of 72 messages were sent before"]
    assert numbers([reader.receive(5) for _ in range(70)]) == list(range(70))
    with pytest.raises(MessageTooLarge) as large:
        sender.send_many("b", [numbered(0), numbered(1, "x" * (17 << 20))])
    assert large.value.__notes__ == ["1 of 2 messages were sent before"]
    registry.mailbox("b").inbox.state = ChannelState.STOPPED
    with pytest.raises(ModuleUnavailable) as stopped:
        sender.send_many("b", many(3))
    assert stopped.value.__notes__ == ["0 of 3 messages were sent before"]


def test_a_closed_channel_takes_none() -> None:
    channel = Channel("inbox")
    channel.close()
    with pytest.raises(Closed):
        channel.put_many(many(2))


def test_many_wait_for_room_up_to_their_timeout(registry: ChannelRegistry) -> None:
    sender, reader = Context(registry, "a"), Context(registry, "b")
    messages = [numbered(number, "x" * 1000) for number in range(500)]
    with pytest.raises(ChannelFull, match="'b': the channel is full") as full:
        sender.send_many("b", messages, timeout=0)
    sent = int(full.value.__notes__[0].split()[0])
    assert 0 < sent < 500
    rest = threading.Thread(target=sender.send_many, args=("b", messages[sent:], 20))
    rest.start()
    found: list[int] = []
    while len(found) < 500:
        found += numbers(reader.receive_many(timeout=10))
    rest.join(10)
    assert found == list(range(500))


async def test_the_same_awaited(registry: ChannelRegistry) -> None:
    sender, reader = AsyncContext(registry, "a"), AsyncContext(registry, "b")
    messages = [numbered(number, "x" * 1000) for number in range(500)]
    with pytest.raises(ChannelFull) as full:
        await sender.send_many("b", messages, timeout=0)
    sent = int(full.value.__notes__[0].split()[0])
    rest = asyncio.create_task(sender.send_many("b", messages[sent:], 20))
    found: list[int] = []
    while len(found) < 500:
        found += numbers(await reader.receive_many(timeout=10))
    await rest
    assert found == list(range(500))
    with pytest.raises(Timeout):
        await reader.receive_many(timeout=0)
    reader.stop()
    with pytest.raises(Closed):
        await reader.receive_many()
    reader.close()


def test_some_are_sent_as_far_as_there_is_room(registry: ChannelRegistry) -> None:
    sender, reader = Context(registry, "a"), Context(registry, "b")
    messages = [numbered(number, "x" * 1000) for number in range(500)]
    sent = sender.send_some("b", messages)
    assert 0 < sent < 500
    assert sender.send_some("b", messages[sent:]) == 0
    assert numbers([reader.receive(5) for _ in range(sent)]) == list(range(sent))


def test_some_are_sent_up_to_one_that_cannot_be(registry: ChannelRegistry) -> None:
    sender, reader = Context(registry, "a"), Context(registry, "b")
    messages = [*many(2), numbered(2, object()), numbered(3)]
    assert sender.send_some("b", messages) == 2
    assert numbers([reader.receive(5) for _ in range(2)]) == [0, 1]
    with pytest.raises(NotAMessage):
        sender.send_some("b", messages[2:])
    with pytest.raises(UnknownModule):
        sender.send_some("nobody", messages)
    registry.mailbox("b").inbox.state = ChannelState.STOPPED
    with pytest.raises(ModuleUnavailable):
        sender.send_some("b", messages)


def test_asking_for_no_message_is_refused(registry: ChannelRegistry) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        Context(registry, "b").receive_many(0)


def test_stopping_acknowledges_what_was_received(registry: ChannelRegistry) -> None:
    sender, reader = Context(registry, "a"), Context(registry, "b")
    sender.send_many("b", many(5))
    reader.receive_many()
    reader.stop()
    with pytest.raises(Closed):
        reader.receive_many()
    assert registry.mailbox("b").inbox.empty()


def test_messages_in_flight_in_memory_that_makes_no_sense_come_to_an_end() -> None:
    """A module can write anything there, and the supervisor reads it."""
    channel = Channel("inbox")
    channel.put_many(many(2))
    channel.try_get_many(2)
    lengths = channel._segment.slot(0).lengths
    lengths[0] |= layout.LENGTH
    assert list(itertools.islice(in_flight._slot(channel._segment.slot(0)), 3)) == []

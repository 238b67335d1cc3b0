from __future__ import annotations

import os
import queue
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ipc import (
    Channel,
    ChannelError,
    ChannelFull,
    ChannelState,
    Closed,
    DeadLetterBox,
    Message,
    MessageTooLarge,
    ModuleUnavailable,
)
from ipc.message import encode
from ipc.ring import layout
from ipc.ring.layout import KEPT, MAX_PAYLOAD, MIB, RING
from tests.ipc.processes import Start


def numbered(number: int, size: int = 0) -> Message:
    return Message.build("test", "g", "update", str(number), "x" * size)


def echo(inbox: Channel, answers: Channel) -> None:
    while (message := inbox.get(timeout=30)).operation != "stop":
        answers.put(message.response(message.content), timeout=30)


def send(channel: Channel, numbers: list[int], size: int = 0) -> None:
    for number in numbers:
        channel.put(numbered(number, size), timeout=30)


def read_and_wait(channel: Channel, count: int, told: Channel) -> None:
    for _ in range(count):
        told.put(channel.get(timeout=30))
    signal.pause()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_messages_pass_both_ways_under_each_start_method(start: Start, method: str) -> None:
    there, back = Channel("there"), Channel("back")
    process = start(echo, there, back, method=method)
    for content in ["", "text", b"bytes", {"a": [1, None, 2.5]}, "y" * (16 * MIB)]:
        message = Message.build("test", "g", "query", "r", content)
        there.put(message, timeout=30)
        answer = back.get(timeout=30)
        assert (answer.parent_id, answer.content) == (message.id, content)
    there.put(Message.build("test", "g", "stop", "r"))
    process.join(10)
    assert process.exitcode == 0


def test_order_is_kept_for_each_of_several_senders(start: Start) -> None:
    channel = Channel("inbox", capacity=64 * 1024)
    for sender in range(3):
        start(send, channel, list(range(sender * 10_000, sender * 10_000 + 3_000)))
    received = [int(channel.get(timeout=30).resource) for _ in range(9_000)]
    for sender in range(3):
        mine = [number for number in received if number // 10_000 == sender]
        assert mine == sorted(mine)
        assert len(mine) == 3_000


def test_a_killed_reader_s_successor_goes_on_where_it_stopped(start: Start) -> None:
    channel, told = Channel("inbox"), Channel("told")
    send(channel, list(range(10)))
    reader = start(read_and_wait, channel, 4, told)
    assert [told.get(timeout=10).resource for _ in range(4)] == ["0", "1", "2", "3"]
    os.kill(reader.pid, signal.SIGKILL)
    reader.join(10)
    rest = [channel.get(timeout=10) for _ in range(7)]
    assert [int(message.resource) for message in rest] == [3, 4, 5, 6, 7, 8, 9]
    assert [message.redelivered for message in rest] == [1, 0, 0, 0, 0, 0, 0]
    assert channel.statistics().redelivered_total == 1


def test_a_message_that_kills_its_readers_becomes_a_dead_letter(
    start: Start, tmp_path: Path
) -> None:
    channel = Channel("inbox", max_deliveries=3, dead_letters=tmp_path / "letters")
    told = Channel("told")
    send(channel, [0, 1])
    for _ in range(3):
        reader = start(read_and_wait, channel, 1, told)
        assert told.get(timeout=10).resource == "0"
        os.kill(reader.pid, signal.SIGKILL)
        reader.join(10)
    assert channel.get(timeout=10).resource == "1"
    (letter,) = DeadLetterBox(tmp_path / "letters").letters()
    assert letter.message().resource == "0"
    assert (letter.channel, letter.deliveries) == ("inbox", 3)
    assert channel.statistics().dead_letters == 1


def test_taken_messages_are_done_in_any_order_and_only_the_others_come_again(
    start: Start,
) -> None:
    channel, told = Channel("inbox"), Channel("told")
    send(channel, list(range(5)))

    def take_five_and_do_two() -> None:
        taken = [channel.receiver.try_take() for _ in range(5)]
        for index in (3, 0):
            delivery = taken[index]
            assert delivery
            delivery.done()
        told.put(numbered(1))
        signal.pause()

    reader = start(take_five_and_do_two)
    told.get(timeout=10)
    assert channel.qsize() == 3
    os.kill(reader.pid, signal.SIGKILL)
    reader.join(10)
    assert [channel.get(timeout=10).resource for _ in range(3)] == ["1", "2", "4"]
    with pytest.raises(queue.Empty):
        channel.get_nowait()


def test_a_full_channel_says_so_and_takes_more_when_read(start: Start) -> None:
    channel = Channel("inbox", capacity=4096)
    with pytest.raises(ChannelFull, match="'inbox': the channel is full"):
        for number in range(100):
            channel.put(numbered(number, 200), block=False)
    assert channel.full()
    waiting = channel.qsize()
    with pytest.raises(ChannelFull):
        channel.put(numbered(0, 200), timeout=0.01)
    start(lambda: [channel.get(timeout=30) for _ in range(waiting)] and signal.pause())
    channel.put(numbered(0, 200), timeout=30)


def test_a_full_sender_does_not_stop_another(start: Start) -> None:
    channel = Channel("inbox", capacity=4096)
    flood = start(send, channel, list(range(1000)), 100)
    deadline = time.monotonic() + 10
    while not channel.full():
        assert time.monotonic() < deadline
        os.sched_yield()
    channel.put(numbered(-1), timeout=0)
    assert flood.is_alive()


def test_a_message_above_the_capacity_passes_when_nothing_waits() -> None:
    channel = Channel("inbox", capacity=1024)
    channel.put(numbered(1, 100_000), block=False)
    with pytest.raises(ChannelFull):
        channel.put(numbered(2), block=False)
    assert len(channel.get_nowait().content) == 100_000


def test_a_message_that_is_too_large_is_refused_and_nothing_is_sent() -> None:
    channel = Channel("inbox")
    with pytest.raises(MessageTooLarge, match="carries up to"):
        channel.put(numbered(1, 17 * MIB))
    assert channel.empty()


@pytest.mark.parametrize("method", ["put", "put_many"])
def test_the_largest_message_passes_and_one_byte_more_is_refused(method: str) -> None:
    channel = Channel("inbox", capacity=MIB)
    most = "x" * (MAX_PAYLOAD - len(encode(numbered(1, 17 * MIB))) + 17 * MIB)
    put: Any = channel.put if method == "put" else lambda message: channel.put_many([message])
    largest, larger = numbered(1), numbered(1)
    largest.content, larger.content = most, most + "x"
    assert (len(encode(largest)), len(encode(larger))) == (MAX_PAYLOAD, MAX_PAYLOAD + 1)
    put(largest)
    assert channel.get_nowait() == largest
    with pytest.raises(MessageTooLarge, match=f"{MAX_PAYLOAD + 1} bytes; a channel carries up to"):
        put(larger)


def memory_in_use(channel: Channel) -> int:
    return os.fstat(channel.filenos()[0]).st_blocks * 512


def test_the_memory_in_use_is_bounded_however_much_passes() -> None:
    channel = Channel("inbox", capacity=2 * MIB)
    for number in range(3 * RING // (MIB // 4)):
        channel.put(numbered(number, MIB // 4))
        assert channel.get_nowait().resource == str(number)
    assert memory_in_use(channel) <= channel.capacity + 2 * KEPT


def test_memory_goes_back_when_the_channel_is_empty() -> None:
    channel = Channel("inbox")
    channel.put(numbered(0, 16 * MIB))
    channel.get_nowait()
    assert channel.try_get() is None
    assert memory_in_use(channel) > 16 * MIB
    channel.put(numbered(1))
    assert memory_in_use(channel) <= 2 * KEPT
    assert channel.get_nowait().resource == "1"


def test_little_traffic_uses_little_memory() -> None:
    channel = Channel("inbox")
    for number in range(10_000):
        channel.put(numbered(number, 1000))
        assert channel.get_nowait().resource == str(number)
        assert channel.try_get() is None
    assert memory_in_use(channel) <= KEPT


def test_the_ring_wraps_without_loss() -> None:
    channel = Channel("inbox")
    sizes = [1, 700_000, 13, 3 * MIB, 200_001, 8 * MIB, 5]
    sent = got = 0
    for _ in range(20):
        while channel.try_put(numbered(sent, sizes[sent % len(sizes)])):
            sent += 1
        while (message := channel.try_get()) is not None:
            assert message.resource == str(got)
            assert len(message.content) == sizes[got % len(sizes)]
            got += 1
    assert got == sent > 40


@pytest.mark.parametrize("state", [s for s in ChannelState if s is not ChannelState.OPEN])
def test_a_module_that_will_not_read_is_named_with_its_state(state: ChannelState) -> None:
    channel = Channel("cloudhub")
    channel.state = state
    with pytest.raises(ModuleUnavailable, match=f"'cloudhub'.*{state.name.lower()}"):
        channel.put(numbered(1))
    channel.state = ChannelState.OPEN
    channel.put(numbered(2))
    assert channel.get_nowait().resource == "2"


def test_a_second_living_reader_is_refused(start: Start) -> None:
    channel, told = Channel("inbox"), Channel("told")
    send(channel, [1])
    reader = start(read_and_wait, channel, 1, told)
    told.get(timeout=10)
    with pytest.raises(ChannelError, match=f"process {reader.pid}"):
        channel.get_nowait()


def test_a_closed_channel_is_closed_in_this_process_only(start: Start) -> None:
    there, back = Channel("there"), Channel("back")
    start(echo, there, back)
    there.close()
    with pytest.raises(Closed):
        there.put(numbered(1))
    assert there.statistics().sent_total == 0


def test_bytes_that_are_no_message_are_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel("inbox", dead_letters=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("ipc.ring.sender.encode_message", lambda _: b"\x93nonsense")
        send(channel, [0])
    send(channel, [1])
    assert channel.get_nowait().resource == "1"
    (letter,) = DeadLetterBox(tmp_path).letters()
    assert "as a message" in letter.reason


def test_statistics_count_what_happened() -> None:
    channel = Channel("inbox", capacity=8192)
    send(channel, [1, 2, 3])
    channel.get_nowait()
    channel.get_nowait()
    seen: Any = channel.statistics()
    assert (seen.messages, seen.sent_total, seen.received_total, seen.senders) == (2, 3, 1, 1)
    assert seen.capacity_bytes == 8192
    assert 0 < seen.bytes < 8192


def test_a_fork_while_another_thread_is_in_a_fence_leaves_the_child_able_to_use_one() -> None:
    with layout._fence_lock:
        child = os.fork()
        if not child:
            os._exit(0 if layout._fence_lock.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

"""Isolation: a process that dies, hangs or floods stops no other process."""

from __future__ import annotations

import os
import queue
import signal
import time
from pathlib import Path
from typing import Any

import multiprocess
import pytest

from ipc import (
    AsyncContext,
    Channel,
    ChannelFull,
    ChannelRegistry,
    ChannelState,
    Closed,
    Context,
    Message,
    ModuleUnavailable,
    NotAMessage,
    Timeout,
    UnknownModule,
)
from ipc.contexts.blocking import DEFAULT_TIMEOUT
from tests.ipc.processes import Start


def numbered(number: int, size: int = 0) -> Message:
    return Message.build("test", "g", "update", str(number), "x" * size)


def registered(*names: str, **options: Any) -> ChannelRegistry:
    registry = ChannelRegistry(**options)
    for name in names:
        registry.add_module(name, "all")
    return registry


# An idle reader is killed inside get(): why these channels are not multiprocess.Queue.


def get_one(channel: Any, told: Any) -> None:
    told.send("waiting")
    told.send(channel.get(timeout=30).resource)


def kill_an_idle_reader(start: Start, channel: Any) -> None:
    """Kill the process once it sleeps in the kernel."""
    here, there = multiprocess.Pipe()
    reader = start(get_one, channel, there)
    assert here.recv() == "waiting"
    deadline = time.monotonic() + 10
    while Path(f"/proc/{reader.pid}/stat").read_text().split()[2] != "S":
        assert time.monotonic() < deadline
    reader.kill()
    reader.join(10)


def test_a_reader_killed_in_get_leaves_the_channel_working(start: Start) -> None:
    channel = Channel("inbox")
    kill_an_idle_reader(start, channel)
    channel.put(numbered(1))
    here, there = multiprocess.Pipe()
    start(get_one, channel, there)
    assert here.recv() == "waiting"
    assert here.poll(10)
    assert here.recv() == "1"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_same_kill_leaves_a_multiprocess_queue_locked(start: Start) -> None:
    """If this fails one day, multiprocess has a queue that survives SIGKILL of its readers."""
    channel: Any = multiprocess.Queue()
    kill_an_idle_reader(start, channel)
    channel.put(numbered(1))
    with pytest.raises(queue.Empty):
        channel.get(timeout=1)
    channel.cancel_join_thread()
    channel.close()


# Senders that die, hang or flood


def flood(registry: ChannelRegistry, name: str) -> None:
    context = Context(registry, name)
    while True:
        context.send("reader", numbered(0, 100), timeout=30)


def die_in_the_middle(registry: ChannelRegistry) -> None:
    """Claim the slot and die before the record is complete: TAIL has not moved."""
    context = Context(registry, "dying")
    context.send("reader", numbered(1))
    writer = context.registry.mailbox("reader").inbox._sender._writer
    assert writer
    start = 4096 + 8 + writer.tail
    writer.mapping[start : start + 100] = b"x" * 100
    os.kill(os.getpid(), signal.SIGKILL)


def hang(registry: ChannelRegistry, told: Channel) -> None:
    context = Context(registry, "hanging")
    context.send("reader", numbered(2))
    context.registry.mailbox("reader").inbox._sender._lock.acquire()
    told.put(numbered(0))
    signal.pause()


def test_a_sender_that_dies_hangs_or_floods_stops_no_other_pair(start: Start) -> None:
    registry = registered("reader", "dying", "hanging", "flooding", "good", capacity=64 * 1024)
    told = Channel("told")
    start(die_in_the_middle, registry).join(10)
    start(hang, registry, told)
    told.get(timeout=10)
    start(flood, registry, "flooding")
    reader, good = Context(registry, "reader"), Context(registry, "good")
    assert {reader.receive(10).resource for _ in range(3)} == {"0", "1", "2"}
    for number in range(100, 200):
        good.send("reader", numbered(number), timeout=10)
        while reader.receive(10).resource != str(number):
            pass


def fill(registry: ChannelRegistry, name: str) -> None:
    context = Context(registry, name)
    with pytest.raises(ChannelFull):
        while True:
            context.send("reader", numbered(0, 100), timeout=0)


def test_a_flood_does_not_starve_another_sender(start: Start) -> None:
    """Senders are read in round robin, at most a burst of each at a time."""
    registry = registered("reader", "flooding", "good")
    start(fill, registry, "flooding").join(20)
    Context(registry, "good").send("reader", numbered(1))
    reader = Context(registry, "reader")
    before = 0
    while reader.receive(10).resource != "1":
        before += 1
    assert before * 100 < 64 * 1024
    assert registry.mailbox("reader").inbox.statistics().messages > 10_000


def test_a_full_module_stops_neither_others_nor_its_answers(start: Start) -> None:
    registry = registered("a", "full", "b", capacity=8192)
    context = Context(registry, "a")
    with pytest.raises(ChannelFull, match=r"'full': the channel is full \([0-9]+ messages"):
        while True:
            context.send("full", numbered(0, 1000), timeout=0)
    context.send("b", numbered(1), timeout=0)
    assert Context(registry, "b").receive(10).resource == "1"
    full = Context(registry, "full")
    asked = full._question(numbered(2), {}, object())
    context.send_resp(asked.response("yes"))
    assert registry.mailbox("full").answers.try_get()


# A group with a member that cannot be sent to


def test_a_member_that_cannot_be_sent_to_stops_none_of_the_others() -> None:
    registry = registered("sender", "stopped", "full", "good", capacity=8192)
    registry.set_state("stopped", ChannelState.STOPPED)
    while registry.mailbox("full").inbox.try_put(numbered(0, 1000), 0):
        pass
    with pytest.raises(ModuleUnavailable, match="'stopped'") as caught:
        Context(registry, "sender").send_to_group("all", numbered(1, 900), timeout=0.01)
    assert any("'full': the channel is full" in note for note in caught.value.__notes__)
    assert Context(registry, "good").receive(10).resource == "1"


async def test_the_same_in_an_event_loop() -> None:
    registry = registered("sender", "stopped", "full", "good", capacity=8192)
    registry.set_state("stopped", ChannelState.STOPPED)
    while registry.mailbox("full").inbox.try_put(numbered(0, 1000), 0):
        pass
    sender = AsyncContext(registry, "sender")
    with pytest.raises(ModuleUnavailable, match="'stopped'"):
        await sender.send_to_group("all", numbered(1, 900), timeout=0.01)
    with pytest.raises(ModuleUnavailable) as caught:
        await sender.send_to_group_sync("all", numbered(2, 900), timeout=0.01)
    assert any("'good' did not answer" in note for note in caught.value.__notes__)
    good = AsyncContext(registry, "good")
    assert [(await good.receive(10)).resource for _ in range(2)] == ["1", "2"]
    for context in (sender, good):
        context.close()


# Errors of their own, in both contexts


async def test_a_full_channel_is_told_from_a_missing_answer() -> None:
    registry = registered("a", "b", capacity=4096)
    context = AsyncContext(registry, "a")
    while registry.mailbox("b").inbox.try_put(numbered(0, 1000), 0):
        pass
    with pytest.raises(ChannelFull):
        await context.send_sync("b", numbered(1, 1000), 0.01)
    with pytest.raises(ChannelFull):
        Context(registry, "a").send_sync("b", numbered(1, 1000), 0.01)
    context.close()


@pytest.mark.parametrize("state", [s for s in ChannelState if s is not ChannelState.OPEN])
async def test_a_module_that_does_not_run_is_an_error_of_every_operation(
    state: ChannelState,
) -> None:
    registry = registered("a", "b")
    registry.set_state("b", state)
    blocking, awaited = Context(registry, "a"), AsyncContext(registry, "a")
    asked = Context(registry, "b")._question(numbered(1), {}, object())
    why = f"'b.*{state.name.lower()}"
    for operation in (
        lambda: blocking.send("b", numbered(0)),
        lambda: blocking.send_sync("b", numbered(0)),
        lambda: blocking.send_to_group("all", numbered(0)),
        lambda: blocking.send_to_group_sync("all", numbered(0)),
        lambda: blocking.send_resp(asked.response("x")),
    ):
        with pytest.raises(ModuleUnavailable, match=why):
            operation()
    for begin in (
        lambda: awaited.send("b", numbered(0)),
        lambda: awaited.send_sync("b", numbered(0)),
        lambda: awaited.send_to_group("all", numbered(0)),
        lambda: awaited.send_to_group_sync("all", numbered(0)),
        lambda: awaited.send_resp(asked.response("x")),
    ):
        with pytest.raises(ModuleUnavailable, match=why):
            await begin()
    awaited.close()


def test_a_module_that_was_cleaned_up_is_unknown() -> None:
    registry = registered("a", "b")
    context = Context(registry, "a")
    context.add_module("c")
    context.add_module_group("c", "some")
    context.send_to_group("some", numbered(1))
    assert Context(registry, "c").receive(1).resource == "1"
    inbox = registry.mailbox("c").inbox
    context.cleanup("c")
    with pytest.raises(UnknownModule, match="'c'"):
        context.send("c", numbered(2))
    with pytest.raises(UnknownModule, match="'some'"):
        context.send_to_group("some", numbered(2))
    with pytest.raises(Closed):
        inbox.put(numbered(3))


def test_waits_are_bounded_by_default() -> None:
    """30 s, as in beehive; only receiving has no timeout, as in beehive."""
    import inspect

    assert DEFAULT_TIMEOUT == 30.0
    for kind in (Context, AsyncContext):
        for name in ("send", "send_sync", "send_resp", "send_to_group", "send_to_group_sync"):
            timeout = inspect.signature(getattr(kind, name)).parameters["timeout"]
            assert timeout.default == 30.0
    with pytest.raises(Timeout):
        Context(registered("a"), "a").receive(0)


@pytest.mark.parametrize(
    "content", [None, "", b"", 0, [], {}, b"\x00" * (16 << 20), "é" * 8_000_000]
)
def test_content_from_nothing_to_16_mib_passes(content: Any) -> None:
    channel = Channel("inbox")
    channel.put(Message.build("a", "g", "update", "r", content), block=False)
    assert channel.get_nowait().content == content


def test_a_refused_message_leaves_the_sender_as_it_was() -> None:
    channel = Channel("inbox")
    with pytest.raises(NotAMessage):
        channel.put(Message.build("a", "g", "update", "r", object()))
    with pytest.raises(NotAMessage):
        channel.put("text")  # type: ignore[arg-type]
    channel.put(numbered(1))
    assert channel.get_nowait().resource == "1"

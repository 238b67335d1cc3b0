from __future__ import annotations

import asyncio
import threading
from dataclasses import FrozenInstanceError

import pytest

from ipc import (
    AsyncContext,
    Channel,
    ChannelRegistry,
    ChannelStatistics,
    Context,
    Histogram,
    Message,
    Timeout,
)
from ipc.ring.statistics import ROUND_TRIP_BOUNDS
from tests.ipc.processes import Start


def question() -> Message:
    return Message.build("a", "g", "query", "r", "?")


@pytest.fixture
def registry() -> ChannelRegistry:
    registry = ChannelRegistry()
    for name in ("a", "b"):
        registry.add_module(name, "all")
    return registry


def statistics(registry: ChannelRegistry) -> ChannelStatistics:
    return registry.mailbox("b").inbox.statistics()


def answer(registry: ChannelRegistry, count: int) -> None:
    context = Context(registry, "b")
    for _ in range(count):
        message = context.receive(10)
        context.send_resp(message.response("!"))
    context.stop()
    assert list(context) == []


def test_round_trips_are_counted_where_they_were_asked(registry: ChannelRegistry) -> None:
    answering = threading.Thread(target=answer, args=[registry, 21])
    answering.start()
    context = Context(registry, "a")
    for _ in range(20):
        context.send_sync("b", question(), 10)
    context.send_to_group_sync("all", question(), 10)
    answering.join(10)
    seen = statistics(registry)
    assert seen.round_trips.count == 21
    assert 0 < seen.round_trips.sum_seconds < 10
    assert seen.unanswered_total == 0
    assert registry.mailbox("a").inbox.statistics().round_trips.count == 0


async def test_round_trips_are_counted_in_an_event_loop(registry: ChannelRegistry) -> None:
    asking, answering = AsyncContext(registry, "a"), AsyncContext(registry, "b")

    async def echo() -> None:
        async for message in answering:
            await answering.send_resp(message.response("!"))

    task = asyncio.create_task(echo())
    await asyncio.gather(*(asking.send_sync("b", question(), 10) for _ in range(20)))
    answering.stop()
    await asyncio.wait_for(task, 10)
    with pytest.raises(Timeout):
        await asking.send_sync("b", question(), 0.01)
    seen = statistics(registry)
    assert (seen.round_trips.count, seen.unanswered_total) == (20, 1)
    for context in (asking, answering):
        context.close()


def test_questions_without_an_answer_are_counted_apart(registry: ChannelRegistry) -> None:
    with pytest.raises(Timeout, match="'b' did not answer"):
        Context(registry, "a").send_sync("b", question(), 0.01)
    seen = statistics(registry)
    assert (seen.round_trips.count, seen.unanswered_total) == (0, 1)


def note_and_die(channel: Channel) -> None:
    channel.put(question())
    for seconds in (0.000_005, 0.000_010, 0.000_011, 0.3, 31.0):
        channel.count_round_trip(seconds)


def test_the_histogram_outlives_its_writers_and_adds_them_up(start: Start) -> None:
    channel = Channel("inbox")
    for _ in range(3):
        start(note_and_die, channel).join(10)
    seen = channel.statistics().round_trips
    assert len(seen.counts) == len(seen.bounds) + 1
    counts = dict(zip((*seen.bounds, None), seen.counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {
        0.00001: 6,
        0.000025: 3,
        0.5: 3,
        None: 3,
    }
    assert seen.sum_seconds == pytest.approx(3 * 31.300026, abs=1e-6)
    assert seen.cumulative()[-1] == seen.count == 15
    assert seen.cumulative()[0] == 6


def test_the_bounds_go_from_10_microseconds_to_30_seconds() -> None:
    assert (ROUND_TRIP_BOUNDS[0], ROUND_TRIP_BOUNDS[-1]) == (0.00001, 30.0)
    assert list(ROUND_TRIP_BOUNDS) == sorted(set(ROUND_TRIP_BOUNDS))


def test_statistics_do_not_change_once_read(registry: ChannelRegistry) -> None:
    seen = statistics(registry)
    with pytest.raises(FrozenInstanceError):
        seen.messages = 1  # type: ignore[misc]
    assert isinstance(seen.round_trips, Histogram)
    assert isinstance(seen.round_trips.counts, tuple)


def test_a_late_answer_is_dropped_while_others_are_received(registry: ChannelRegistry) -> None:
    """Late answers do not fill the channel of a module that sends no more questions."""
    asking, answering = Context(registry, "a"), Context(registry, "b")
    with pytest.raises(Timeout):
        asking.send_sync("b", question(), 0)
    answering.send_resp(answering.receive(10).response("late"))
    registry.mailbox("a").inbox.put(question())
    asking.receive(10)
    assert asking.unmatched_answers == 1
    assert registry.mailbox("a").answers.statistics().received_total <= 1

"""A message that the API server fails to handle for ever keeps the channel for no other edge."""

from __future__ import annotations

import pytest

from ipc import ChannelFull, Message
from ipc.channel import Channel
from modules.common.kube import Unreachable
from modules.common.kube.health import REQUESTS, ApiHealth
from modules.common.sync import deliveries
from modules.common.sync.deliveries import Deliveries
from tests.modules.edgecontroller.test_parts import FakeDelivery

CAPACITY = 64 * 1024
CONTENT = b"x" * 1024


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def handle_others(channel: Channel, flight: Deliveries, count: int) -> None:
    """Put messages into a channel, and handle each."""
    for n in range(count):
        channel.put(Message.build("edged", "meta", "update", f"node/n{n}/b", CONTENT), timeout=0)
        delivery = channel.receiver.try_take()
        assert delivery is not None
        flight.begin(delivery)
        flight.done(delivery)


async def test_one_that_takes_long_leaves_the_channel_to_others() -> None:
    clock = Clock()
    flight = Deliveries(100, ApiHealth(), clock)
    channel = Channel("edgecontroller", capacity=CAPACITY)
    channel.put(Message.build("edged", "meta", "update", "node/a/b", CONTENT))
    first = channel.receiver.try_take()
    assert first is not None
    flight.begin(first)
    handle_others(channel, flight, 10)
    with pytest.raises(ChannelFull):  # it keeps the room of all after it
        handle_others(channel, flight, 100)
    clock.now += deliveries._STAY
    flight.release()
    handle_others(channel, flight, 1000)
    assert len(flight) == 1
    flight.done(first)
    assert len(flight) == 0


async def test_in_an_outage_all_stay_in_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are handled after a crash, and the API server is what they wait for."""
    clock, health = Clock(), ApiHealth()
    flight = Deliveries(100, health, clock)
    waits = FakeDelivery("waits")
    flight.begin(waits)  # type: ignore[arg-type]
    monkeypatch.setattr(deliveries, "_OUTAGE", -1.0)
    health.failed(REQUESTS, Unreachable("no answer"))
    clock.now += 2 * deliveries._STAY
    flight.release()
    assert not waits.is_done
    monkeypatch.setattr(deliveries, "_OUTAGE", 2.0)
    health.served(REQUESTS)
    flight.release()
    assert not waits.is_done  # it is about to be handled
    flight.done(waits)  # type: ignore[arg-type]
    assert waits.is_done
    health.close()


async def test_those_that_have_left_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "_MOST_BYTES", 3 * deliveries._SMALL)
    clock = Clock()
    flight = Deliveries(100, ApiHealth(), clock)
    waiting = [FakeDelivery(f"w{n}") for n in range(5)]
    for each in waiting:
        flight.begin(each)  # type: ignore[arg-type]
    clock.now += deliveries._STAY
    flight.release()
    assert [each.is_done for each in waiting] == [True] * 3 + [False] * 2
    flight.done(waiting[0])  # type: ignore[arg-type]
    flight.release()
    assert [each.is_done for each in waiting] == [True] * 4 + [False]

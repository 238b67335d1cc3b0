"""The logic of a session without a socket: what is told to its connection, and what to the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from picows import WSCloseCode

from ipc import Message
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.identity import Identity
from modules.cloudhub.metrics import HubStatistics
from modules.cloudhub.session.session import Session
from modules.common.wire import WireError, json_form, packed
from modules.common.wire.generations import V1_1, V1_23


class Clock:
    """A loop whose time and timers the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        self._timers.append((when, callback))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for when, callback in self._timers if when <= self.now]
        self._timers = [timer for timer in self._timers if timer[0] > self.now]
        for callback in due:
            callback()


class Wire:
    """A connection that records what it is told."""

    def __init__(self) -> None:
        self.written: list[tuple[bytes, bool]] = []
        self.acks_expected = 0
        self.is_read = True
        self.closed: tuple[WSCloseCode, str] | None = None
        self.aborted = False

    def write(self, messages: Iterable[bytes], *, text: bool) -> None:
        self.written += [(message, text) for message in messages]

    def coalesce_acks(self) -> None:
        self.acks_expected += 1

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def close(self, code: WSCloseCode, reason: str) -> None:
        assert not (self.closed or self.aborted)
        self.closed = (code, reason)

    def abort(self) -> None:
        assert not (self.closed or self.aborted)
        self.aborted = True


class World:
    """A session, and the hub and the upstream around it."""

    def __init__(self, clock: Clock, **settings: Any) -> None:
        self.config = CloudHubConfig(**settings)
        self.statistics = HubStatistics()
        self.suspension = None
        self.message_time = 1 / self.config.rate_limit if self.config.rate_limit else 0.0
        self.burst_time = self.config.rate_burst * self.message_time
        self.slow: set[Session] = set()
        self.upstream = self
        self.passed: list[Message] = []
        self.answers: list[Message] = []
        self.told: list[str] = []
        self.clock, self.wire = clock, Wire()
        self.session = Session(self, Identity("edge-1", "system:node:edge-1", 0), "an address")
        self.session.opened(self.wire)
        self.session.granted()

    def receive(self, message: Message, session: Session) -> None:
        assert session is self.session
        self.passed.append(message)

    def answer(self, message: Message, session: Session | None = None) -> None:
        assert session in (None, self.session)
        self.answers.append(message)

    def opened(self, session: Session) -> None:
        self.told.append("opened")

    def enrolled(self, session: Session) -> None:
        self.told.append(f"enrolled {session.generation_name}")

    def ended(self, session: Session, cause: str, reason: str) -> None:
        self.told.append(f"ended: {cause}")

    def sends(self, *messages: Message, today: bool = True) -> None:
        """Let the edge send messages, as its connection hands them over."""
        encode = json_form.encode if today else packed.encode
        for message in messages:
            for part in encode(message):
                self.session.charge(self.session.receive(part))

    def sent(self) -> list[Message]:
        """Take what was written to an edge of today."""
        assert all(text for _, text in self.wire.written)
        decoder = json_form.Decoder()
        messages = [decoder.feed(data)[0] for data, _ in self.wire.written]
        self.wire.written.clear()
        return messages


KEEPALIVE = Message.build("websocket", "resource", "keepalive", "node", "ping")


def pod(name: str, operation: str = "update", content: Any = None) -> Message:
    return Message.build("edgecontroller", "resource", operation, f"default/pod/{name}", content)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


@pytest.fixture
def world(clock: Clock) -> World:
    return World(clock)


@pytest.mark.parametrize(("today", "generation"), [(False, V1_1), (True, V1_23)])
def test_the_first_message_decides_the_generation(
    world: World, today: bool, generation: str
) -> None:
    world.session.send(pod("p"))  # nobody knows yet how
    assert world.wire.written == []
    world.sends(KEEPALIVE, today=today)
    assert world.told == ["opened", f"enrolled {generation}"]
    world.session.send(pod("p"))
    assert {text for _, text in world.wire.written} == {today}


def test_nothing_is_written_to_an_edge_that_has_said_nothing(world: World) -> None:
    world.clock.advance(world.config.keepalive_interval - 1)
    world.session.check(world.clock.now)
    world.session.send(pod("p"))
    assert (world.told, world.wire.written, world.wire.closed) == (["opened"], [], None)
    world.clock.advance(1)
    world.session.check(world.clock.now)
    assert world.wire.closed


def test_an_edge_keeps_to_its_form(world: World) -> None:
    world.sends(KEEPALIVE)
    with pytest.raises(WireError):
        world.sends(KEEPALIVE, today=False)


def test_keepalives_are_counted_and_not_passed_on(world: World) -> None:
    sent = Message.build("edged", "meta", "query", "default/configmap/c")
    world.sends(KEEPALIVE, sent, KEEPALIVE)
    assert [message.id for message in world.passed] == [sent.id]
    assert (world.statistics.keepalives, world.session.messages_in) == (2, 3)


def test_an_edge_without_keepalives_is_disconnected(world: World) -> None:
    interval = world.config.keepalive_interval
    world.sends(KEEPALIVE)
    world.clock.advance(interval - 1)
    assert world.session.check(world.clock.now) == world.clock.now + 1
    world.sends(KEEPALIVE)
    world.clock.advance(interval - 1)
    world.session.check(world.clock.now)
    assert world.wire.closed is None
    world.clock.advance(1)
    world.session.check(world.clock.now)
    assert world.wire.closed == (
        WSCloseCode.POLICY_VIOLATION,
        f"no keepalive for {interval:g} s",
    )
    assert world.told[-1] == "ended: keepalive"


def test_no_keepalive_is_missed_while_the_edge_is_not_read(world: World) -> None:
    world.sends(KEEPALIVE)
    world.session.pause_reading()
    world.clock.advance(10 * world.config.keepalive_interval)
    world.session.check(world.clock.now)
    world.session.resume_reading()
    world.session.check(world.clock.now)
    assert world.wire.closed is None
    assert world.wire.is_read


def test_reading_is_resumed_when_no_reason_is_left_to_pause_it(clock: Clock) -> None:
    world = World(clock, rate_limit=10.0, rate_burst=2)
    world.sends(*[KEEPALIVE] * 5)
    assert not world.wire.is_read
    world.session.pause_reading()
    clock.advance(1.0)
    assert not world.wire.is_read  # back-pressure is left
    world.session.resume_reading()
    assert world.wire.is_read
    assert world.statistics.throttled == 1


def test_what_is_written_while_the_edge_does_not_read_is_the_newest_state(world: World) -> None:
    world.sends(KEEPALIVE)
    world.session.send(pod("a", "insert"))
    assert len(world.sent()) == world.wire.acks_expected == 1
    world.session.pause_writing()
    assert world.slow == {world.session}
    for message in (pod("a", content=1), pod("b", "insert"), pod("a", content=2), pod("b")):
        world.session.send(message)
    assert world.wire.written == []
    world.session.resume_writing()
    assert world.slow == set()
    wanted = [("default/pod/a", "update", 2), ("default/pod/b", "insert", None)]
    assert [(each.resource, each.operation, each.content) for each in world.sent()] == wanted


def test_an_edge_whose_queue_is_full_is_disconnected_without_a_word(clock: Clock) -> None:
    world = World(clock, queue_messages=2)
    world.sends(KEEPALIVE)
    world.session.pause_writing()
    for number in range(3):
        world.session.send(pod(f"p{number}"))
    assert world.wire.aborted
    assert world.told[-1] == "ended: queue"
    world.session.send(pod("later"))
    world.session.resume_writing()
    assert world.wire.written == []


def test_a_write_that_takes_too_long_ends_the_session(world: World) -> None:
    world.sends(KEEPALIVE)
    world.session.pause_writing()
    world.clock.advance(world.config.write_timeout)
    world.session.check_write(world.clock.now)
    assert world.wire.aborted
    assert world.told[-1] == "ended: write"


def test_what_cannot_be_encoded_is_refused_and_the_session_goes_on(world: World) -> None:
    world.sends(KEEPALIVE)
    with pytest.raises(WireError):
        world.session.send(pod("bad", content=float("nan")))
    world.session.send(pod("good"))
    assert [each.resource for each in world.sent()] == ["default/pod/good"]


def test_an_answer_goes_to_who_asked_and_an_acknowledgement_up(world: World) -> None:
    world.sends(KEEPALIVE)
    asked, told = pod("asked", "query"), pod("told")
    asked.reply_to = "csi"
    world.session.await_answer(asked)
    for message in (asked, told):
        world.session.send(message)
    world.sends(asked.response({"a": 1}), told.response("OK"), asked.response("again"))
    assert [(each.reply_to, each.content) for each in world.answers] == [("csi", b'{"a":1}')]
    assert [each.content for each in world.passed] == ["OK", "again"]


def test_whoever_asked_is_told_when_the_session_ends(world: World) -> None:
    world.sends(KEEPALIVE)
    asked = pod("asked", "query")
    asked.reply_to = "csi"
    world.session.await_answer(asked)
    world.session.replaced()
    (answer,) = world.answers
    assert (answer.operation, answer.parent_id, answer.reply_to) == ("error", asked.id, "csi")


def test_a_session_ends_once(world: World) -> None:
    world.sends(KEEPALIVE)
    world.session.pause_reading()
    world.session.end(WSCloseCode.OK, "stopped", "the node was deleted")
    assert world.wire.is_read  # for the edge's part of the close handshake
    world.session.abort("queue", "full")
    world.session.replaced()
    world.session.ended("lost", "the connection broke")
    assert world.wire.closed == (WSCloseCode.OK, "the node was deleted")
    assert world.told.count("ended: stopped") == len(world.told) - 2

"""Several processes: one limit, one session for each node, and every message finds it.

Here each process is a hub with a port of its own, so that a test says which one an edge comes
to; tests/modules/cloudhub/test_processes_killed.py has real processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ipc import ChannelState, Message, open_contexts
from modules.cloudhub.cluster import leader, protocol
from modules.cloudhub.cluster.directory import Directory, Holder
from modules.cloudhub.cluster.leader import Leader
from modules.cloudhub.cluster.protocol import process_message
from modules.cloudhub.endpoint.identity import HandshakeRefused
from modules.common.wire.generations import V1_1, V1_23, generation_of
from tests.modules.cloudhub.cloud import DEADLINE, HubContext, Join


async def test_a_message_finds_the_process_that_holds_the_node(
    run_hubs: Callable, join: Join
) -> None:
    async with run_hubs(3) as clouds:
        edges = {}
        for number, cloud in enumerate(clouds):
            node = f"edge-{number}"
            edges[node] = await join(cloud, node)
            await clouds[0].expect(node, "connected")
        for count in range(100):
            for node in edges:
                await clouds[0].send(node, f"default/pod/p{count}", "insert")
        for edge in edges.values():
            for count in range(100):
                assert (await edge.receive()).resource == f"default/pod/p{count}"
        for node, edge in edges.items():
            await edge.send(Message.build("edged", "resource", "update", "default/podstatus"))
            assert (await clouds[0].next()).resource == f"node/{node}/default/podstatus"


async def test_a_question_finds_its_answer_through_another_process(
    run_hubs: Callable, join: Join
) -> None:
    async with run_hubs(2) as (first, second):
        edge = await join(second, "edge-1")
        await first.expect("edge-1", "connected")
        question = Message.build("edgecontroller", "resource", "update", "node/edge-1/edge-1/vol/v")
        asking = asyncio.create_task(first.edgecontroller.send_sync("cloudhub", question, DEADLINE))
        await edge.send((await edge.receive()).response("done"))
        assert (await asking).content == b"done"

        await edge.leave()
        await first.expect("edge-1", "disconnected")
        answer = await first.edgecontroller.send_sync("cloudhub", question.clone(), DEADLINE)
        assert answer.content == "node edge-1 is not connected"


@pytest.mark.parametrize("holder", [0, 1], ids=["leader", "follower"])
@pytest.mark.parametrize("today", [False, True], ids=[V1_1, V1_23])
async def test_the_generation_is_told_whichever_process_holds_the_node(
    run_hubs: Callable, join: Join, holder: int, today: bool
) -> None:
    wanted = V1_23 if today else V1_1
    async with run_hubs(2) as clouds:
        await join(clouds[holder], today=today)
        told = await clouds[0].expect("edge-1", "connected")
        assert generation_of(told.content) == wanted
        question = Message.build("edgecontroller", "resource", "request_exist", "node/edge-1")
        answer = await clouds[0].edgecontroller.send_sync("cloudhub", question, DEADLINE)
        assert (answer.operation, generation_of(answer.content)) == ("response_exist", wanted)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (1, 2), (1, 1)])
async def test_a_newer_connection_takes_over_from_another_process(
    run_hubs: Callable, join: Join, one: int, other: int
) -> None:
    async with run_hubs(3) as clouds:
        older = await join(clouds[one])
        await clouds[0].expect("edge-1", "connected")
        newer = await join(clouds[other])
        code, reason = await older.closed()
        assert code == 1000
        assert "newer connection" in reason
        await clouds[0].expect("edge-1", "disconnected")
        await clouds[0].expect("edge-1", "connected")
        await clouds[0].send("edge-1", "default/pod/p")
        assert (await newer.receive()).resource == "default/pod/p"
        assert sum(len(cloud.hub.sessions) for cloud in clouds) == 1


async def test_who_is_refused_by_the_leader_does_not_fill_the_log(
    run_hubs: Callable, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_hubs(2, node_limit=1) as clouds:
        await join(clouds[0], "edge-0")
        await clouds[0].expect("edge-0", "connected")
        for _ in range(12):
            refused = await join(clouds[1], "edge-9")
            assert (await refused.closed())[0] == 1013
        assert clouds[1].hub.statistics.refused == {"limit": 12}
    lines = [each for each in caplog.messages if "one more than node_limit" in each]
    assert len(lines) == 10


async def test_the_limit_is_exact_over_all(run_hubs: Callable, join: Join) -> None:
    async with run_hubs(3, node_limit=4) as clouds:
        for number in range(4):
            await join(clouds[number % 3], f"edge-{number}")
            await clouds[0].expect(f"edge-{number}", "connected")
        refused = await join(clouds[1], "edge-9")
        code, reason = await refused.closed()
        assert code == 1013
        assert "one more than node_limit = 4" in reason
        assert clouds[1].hub.statistics.refused == {"limit": 1}
        assert not clouds[1].hub.statistics.ended

        again = await join(clouds[2], "edge-0")  # who is connected may come again
        await clouds[0].expect("edge-0", "disconnected")
        await clouds[0].expect("edge-0", "connected")
        await again.leave()
        await clouds[0].expect("edge-0", "disconnected")
        await join(clouds[1], "edge-9")
        await clouds[0].expect("edge-9", "connected")


async def test_many_at_once_and_not_one_more_than_allowed(run_hubs: Callable, join: Join) -> None:
    many, limit = 60, 40
    async with run_hubs(3, node_limit=limit, authorization="any-trusted") as clouds:

        async def come(number: int) -> bool:
            try:
                edge = await join(clouds[number % 3], f"edge-{number}", certificate="edge-1")
            except AssertionError:
                return False
            return await edge.is_served()

        async with asyncio.timeout(30):
            let_in = await asyncio.gather(*(come(number) for number in range(many)))
        assert sum(let_in) == limit
        assert sum(len(cloud.hub.sessions) for cloud in clouds) == limit
        assert sum(cloud.hub.statistics.refused["limit"] for cloud in clouds) == many - limit


async def test_a_process_that_takes_no_messages_holds_nothing(
    run_hubs: Callable, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped or has failed for good: questions are answered with an error."""
    async with run_hubs(2) as (first, second):
        await join(second, "edge-1")
        near = await join(first, "edge-2")
        await first.expect("edge-1", "connected")
        await first.expect("edge-2", "connected")
        first.context.registry.set_state("cloudhub-2", ChannelState.FAILED)
        await first.send("edge-1", "default/pod/p")
        await first.expect("edge-1", "disconnected")
        question = Message.build("edgecontroller", "resource", "query", "node/edge-1/default/pod/p")
        answer = await first.edgecontroller.send_sync("cloudhub", question, DEADLINE)
        assert answer.content == "node edge-1 is not connected"
        await first.send("edge-2", "default/pod/p")
        assert (await near.receive()).resource == "default/pod/p"
        first.context.registry.set_state("cloudhub-2", ChannelState.OPEN)


async def test_edges_of_a_process_that_hangs_start_over(
    run_hubs: Callable, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is limited; beyond it its edges reconnect, and the controllers resync them."""
    monkeypatch.setattr(leader, "_MAX_WAITING", 20)
    async with run_hubs(2) as (first, second):
        edge = await join(second, "edge-1")
        near = await join(first, "edge-2")
        await first.expect("edge-1", "connected")
        await first.expect("edge-2", "connected")

        released = asyncio.Event()
        send = first.context.send

        async def hang(module: str, message: Message, timeout: float | None = None) -> None:
            if module == "cloudhub-2":
                await released.wait()
            await send(module, message)

        monkeypatch.setattr(first.context, "send", hang)
        for number in range(30):
            await first.send("edge-1", f"default/pod/p{number}", "insert")
            await first.send("edge-2", f"default/pod/p{number}", "insert")
            assert (await near.receive()).resource == f"default/pod/p{number}"
        await first.expect("edge-1", "disconnected")
        released.set()
        code, reason = await edge.closed()
        assert code == 1012
        assert "connect again" in reason
        await join(second, "edge-1")
        await first.expect("edge-1", "connected")


async def test_without_the_first_process_edges_are_told_to_come_back(
    run_hubs: Callable, join: Join
) -> None:
    async with run_hubs(2, handshake_timeout=1.0) as (_, second):
        second.context.registry.set_state("cloudhub", ChannelState.FAILED)
        edge = await join(second, "edge-1")
        code, reason = await edge.closed()
        assert code == 1013
        assert "connect again" in reason
        assert second.hub.statistics.refused == {"no grant": 1}
        second.context.registry.set_state("cloudhub", ChannelState.OPEN)


class Told:
    """A directory, and its calls of publish and evict."""

    def __init__(self, limit: int = 10) -> None:
        self.told: list[tuple[str, str]] = []
        self.generations: dict[str, str] = {}
        self.evicted: list[tuple[str, int]] = []
        self.directory = Directory(
            limit,
            publish=self._publish,
            evict=lambda _, holder: self.evicted.append((holder.unit, holder.serial)),
        )

    def _publish(self, node: str, operation: str, generation: str) -> None:
        self.told.append((node, operation))
        self.generations[node] = generation

    def connect(self, node: str, unit: str, serial: int) -> Holder:
        holder = Holder(unit, serial)
        self.directory.claim(node, holder)
        self.directory.enroll(node, holder, V1_1)
        return holder


def test_a_late_claim_of_an_older_session_does_not_take_over() -> None:
    """As when the claim waited in the channel while the leader was restarted."""
    told = Told()
    told.connect("n", "b", 20)
    told.directory.claim("n", Holder("c", 10))
    assert told.evicted == [("c", 10)]
    assert told.directory.holder("n") == Holder("b", 20)
    assert told.told == [("n", "connected")]


def test_a_late_farewell_of_a_replaced_session_changes_nothing() -> None:
    told = Told()
    old = told.connect("n", "b", 1)
    new = told.connect("n", "c", 2)
    told.directory.release("n", old)
    assert told.directory.holder("n") == new
    assert told.told == [("n", "connected"), ("n", "disconnected"), ("n", "connected")]


def test_a_roster_is_taken_as_it_is() -> None:
    told = Told(limit=2)
    told.connect("gone", "b", 1)
    told.connect("stays", "b", 2)
    told.told.clear()
    told.directory.adopt("b", [("stays", 2, V1_1), ("new", 3, V1_23), ("mute", 4, "")])
    assert told.told == [("gone", "disconnected"), ("new", "connected")]
    assert told.generations["new"] == V1_23
    assert len(told.directory) == 3  # more than the limit: they have been let in before
    with pytest.raises(HandshakeRefused):
        told.directory.claim("another", Holder("a", 5))
    told.directory.adopt("b", [("stays", 2, V1_1), ("new", 3, V1_23), ("mute", 4, "")])
    assert told.told == [("gone", "disconnected"), ("new", "connected")]


def test_a_roster_does_not_take_from_a_newer_session() -> None:
    told = Told()
    told.connect("n", "a", 20)
    told.directory.adopt("b", [("n", 10, V1_1)])
    assert told.directory.holder("n") == Holder("a", 20)
    assert told.evicted == [("b", 10)]


@contextmanager
def leader_of(*others: str) -> Iterator[Leader]:
    """Yield a leader that is given the messages of other processes, and sends none."""
    contexts = open_contexts({"cloudhub": "cloudhub"} | dict.fromkeys(others, ""))
    context: Any = HubContext(contexts["cloudhub"].registry, "cloudhub")
    yield Leader(context, others, 10, {}, publish=lambda *_: None)
    for each in (*contexts.values(), context):
        each.close()


async def test_a_claim_that_is_released_before_the_rosters_are_there_is_void(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a session that is over would hold the node, and a place of the limit."""
    monkeypatch.setattr(leader, "_ROSTER", 0.0)
    with leader_of("cloudhub-2") as first:
        for operation in (protocol.CLAIM, protocol.RELEASE):
            first.handle(process_message(operation, ["cloudhub-2", 7, ""], "n"))
        await first.joined()
        assert len(first) == 0


async def test_a_claim_of_before_a_roster_is_void() -> None:
    """Its process has been killed since, or claims the node again after the roster."""
    with leader_of("cloudhub-2", "cloudhub-3") as first:
        first.handle(process_message(protocol.CLAIM, ["cloudhub-2", 7, ""], "gone"))
        first.handle(process_message(protocol.CLAIM, ["cloudhub-3", 8, ""], "there"))
        first.handle(process_message(protocol.ROSTER, ["cloudhub-2", []]))
        first.handle(process_message(protocol.CLAIM, ["cloudhub-2", 9, ""], "again"))
        first._missing.clear()
        first._all_known.set()
        await first.joined()
        assert [first._directory.holder(node) for node in ("gone", "there", "again")] == [
            None,
            Holder("cloudhub-3", 8),
            Holder("cloudhub-2", 9),
        ]


async def test_messages_of_a_process_that_is_none_any_more_are_ignored() -> None:
    """They were in the channel when `processes` became less."""
    with leader_of("cloudhub-2") as first:
        first.handle(process_message(protocol.CLAIM, ["cloudhub-3", 7, ""], "claimed"))
        first.handle(process_message(protocol.ROSTER, ["cloudhub-3", [["held", 8, V1_23]]]))
        first.handle(process_message(protocol.ROSTER, ["cloudhub-2", []]))
        await first.joined()
        assert len(first) == 0
        message = Message.build("edgecontroller", "resource", "update", "node/held/default/pod/p")
        assert not first.forward(message, "held")


async def test_a_question_about_a_node_of_an_unknown_process_is_not_put_to_all_of_them() -> None:
    """A message is: one of them holds the node; of a question each would send an answer."""
    others = ("cloudhub-2", "cloudhub-3")
    contexts = open_contexts({"cloudhub": "cloudhub"} | dict.fromkeys(others, ""))
    context: Any = HubContext(contexts["cloudhub"].registry, "cloudhub")
    first = Leader(context, others, 10, {}, publish=lambda *_: None)
    question = Message.build("edgecontroller", "resource", "query", "node/n/default/pod/p")
    question.reply_to = "edgecontroller"
    assert not first.forward(question, "n")
    await first.drained()  # nothing waits for a process
    question.reply_to = ""
    assert first.forward(question, "n")
    running = asyncio.create_task(first.run())
    for unit in others:
        operations = [(await contexts[unit].receive(DEADLINE)).operation for _ in range(2)]
        assert "query" in operations
    running.cancel()
    await asyncio.wait([running])
    for each in (*contexts.values(), context):
        each.close()

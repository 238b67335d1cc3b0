"""Requests of CSI drivers in flight: turns, deadlines, limits, and edges that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.cloudhub import questions
from modules.cloudhub.csi import requests, server
from modules.common.wire import WireError
from modules.hollow.timing import Timing
from tests.modules.cloudhub import driver
from tests.modules.cloudhub.cloud import Cloud, Join
from tests.modules.cloudhub.driver import (
    VOLUME,
    answer_one,
    ask,
    asked,
    encoded,
    exchange,
    failed,
    request,
)
from tests.modules.cloudhub.edge import Edge
from tests.support.waiting import until


async def test_an_edge_that_does_not_answer_is_not_waited_for_for_ever(
    cloud: Cloud, edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "ANSWER", 0.2)
    async with driver.serving(cloud, tmp_path) as path:
        answer = await ask(path, request())
        got = await edge.receive()
        failed(answer, "node edge-1 did not answer within 0.2 s")
        assert answer["header"]["parent_msg_id"] == request()["header"]["msg_id"]
        assert answer["route"]["resource"] == request()["route"]["resource"]
        await edge.send(got.response({}))  # too late, and nobody's answer
        asking = asyncio.create_task(asked(path, request(volume="next")))
        await answer_one(edge, VOLUME)
        assert await asking == VOLUME


async def test_a_request_in_flight_ends_when_the_edge_disconnects(
    cloud: Cloud, edge: Edge, tmp_path: Path
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, request()))
        await edge.receive()
        await edge.leave()
        failed(await asking, "node edge-1 was disconnected before it answered")
        failed(await ask(path, request()), "node edge-1 is not connected")


async def test_a_request_in_flight_ends_when_the_edge_connects_anew(
    cloud: Cloud, edge: Edge, join: Join, tmp_path: Path
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, request()))
        await edge.receive()
        newer = await join(cloud, today=True)
        failed(await asking, "node edge-1 was disconnected before it answered")
        asking = asyncio.create_task(asked(path, request()))
        await answer_one(newer, {})
        assert await asking == {}


async def test_one_edge_is_asked_one_thing_at_a_time(
    cloud: Cloud, edge: Edge, join: Join, tmp_path: Path
) -> None:
    """And another one meanwhile."""
    other = await join(cloud, "edge-2", today=True)
    async with driver.serving(cloud, tmp_path) as path:
        first = asyncio.create_task(asked(path, request(volume="a")))
        got = await edge.receive()
        later = [asyncio.create_task(asked(path, request(volume=each))) for each in "bc"]
        beside = asyncio.create_task(asked(path, request("edge-2")))
        await answer_one(other, {"is": "other"})
        assert await beside == {"is": "other"}
        marker = Message.build("edgecontroller", "resource", "update", "node/edge-1/default/pod/p")
        await cloud.edgecontroller.send("cloudhub", marker)
        assert (await edge.receive()).resource == "default/pod/p"  # and nothing before it
        await edge.send(got.response({"is": "a"}))
        assert await first == {"is": "a"}
        for _ in later:
            got = await edge.receive()
            await edge.send(got.response({"is": got.resource}))
        found = [answer["is"] for answer in await asyncio.gather(*later)]
        assert found == ["default/volume/b", "default/volume/c"]


def test_an_edge_that_has_failed_is_heard() -> None:
    """It answers with nothing, and late; what a driver is told then says where to look."""
    assert Timing().volume < questions.ANSWER


async def test_a_request_that_waits_for_its_turn_is_not_asked_after_its_time(
    cloud: Cloud, edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "ANSWER", 1.0)
    monkeypatch.setattr(questions, "_LEAST", 0.5)
    async with driver.serving(cloud, tmp_path) as path:
        asking = [asyncio.create_task(ask(path, request(volume=each))) for each in "ab"]
        for answer in await asyncio.gather(*asking):
            failed(answer, "did not answer within 1 s")
        await edge.receive()
        assert await edge.is_served()  # the next frame is the pong


async def test_many_drivers_are_served_at_once(cloud: Cloud, join: Join, tmp_path: Path) -> None:
    nodes = [f"edge-{number}" for number in range(8)]
    edges = {node: await join(cloud, node, today=node[-1] in "1357") for node in nodes}
    async with driver.serving(cloud, tmp_path) as path:

        async def serve(node: str, edge: Edge) -> None:
            for _ in range(20):
                got = await edge.receive()
                await edge.send(got.response({"at": node, "volume": got.resource}))

        async def call(node: str, volume: str) -> None:
            answer = await asked(path, request(node, volume=volume))
            assert answer == {"at": node, "volume": f"default/volume/{volume}"}

        async with asyncio.TaskGroup() as tasks:
            for node, edge in edges.items():
                tasks.create_task(serve(node, edge))
                for number in range(20):
                    tasks.create_task(call(node, f"v{number}"))


async def test_too_many_requests_are_refused_at_once(
    cloud: Cloud, edge: Edge, join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "MOST_WAITING", 2)
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    lines: list[Any] = []
    line = questions._Line
    monkeypatch.setattr(questions, "_Line", lambda: lines.append(line()) or lines[-1])
    other = await join(cloud, "edge-2", today=True)
    async with driver.serving(cloud, tmp_path) as path:
        asking = [asyncio.create_task(asked(path, request(volume="a")))]
        got = await edge.receive()
        asking.append(asyncio.create_task(asked(path, request(volume="b"))))
        await until(lambda: lines[0].waiting == 2)  # else the next one waits, and this one fails
        failed(await ask(path, request(volume="c")), "2 requests wait for node edge-1 already")
        beside = asyncio.create_task(asked(path, request("edge-2")))
        elsewhere = await other.receive()
        failed(await ask(path, request("edge-3")), "3 requests are open already")
        await other.send(elsewhere.response({}))
        assert await beside == {}
        await edge.send(got.response({}))
        await answer_one(edge, {})
        assert await asyncio.gather(*asking) == [{}, {}]


async def test_a_node_of_another_process_is_reached(
    run_hubs: Callable[..., Any], join: Join, tmp_path: Path
) -> None:
    async with run_hubs(2) as (first, second), driver.serving(first, tmp_path) as path:
        edges = await join(second, today=True), await join(first, "edge-2")
        for node in ("edge-1", "edge-2"):
            await first.expect(node, "connected")
        for node, edge in zip(("edge-1", "edge-2"), edges, strict=True):
            asking = asyncio.create_task(asked(path, request(node)))
            await answer_one(edge, {"at": node})
            assert await asking == {"at": node}
            asking = asyncio.create_task(ask(path, request(node)))
            await edge.receive()
            await edge.leave()
            failed(await asking, f"node {node} was disconnected before it answered")


async def test_a_request_to_a_process_that_is_killed_ends(
    run_hubs: Callable[..., Any], join: Join, tmp_path: Path
) -> None:
    """A process that is killed says nothing; its successor says that it holds no node."""
    async with run_hubs(2) as (first, second), driver.serving(first, tmp_path) as path:
        edge = await join(second, today=True)
        await first.expect("edge-1", "connected")
        asking = asyncio.create_task(ask(path, request()))
        await edge.receive()
        roster = Message.build(
            "cloudhub", "cloudhub.processes", "roster", "node/*", ["cloudhub-2", []]
        )
        await first.edgecontroller.send("cloudhub", roster)
        failed(await asking, "node edge-1 was disconnected before it answered")


@pytest.mark.parametrize("begun", [b"", b'{"content":"}'])
async def test_who_does_not_finish_a_request_is_let_go(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(server, "_REQUEST", 0.2)
    async with driver.serving(cloud, tmp_path) as path:
        failed(json.loads(await exchange(path, begun)), "not complete within 0.2 s")
        _, gone = await asyncio.open_unix_connection(path)
        gone.close()  # and who goes away at once is nobody's concern
        await gone.wait_closed()


async def test_a_request_is_not_decoded_anew_for_each_piece() -> None:
    """What looks like its end may come again and again, and each look at it takes longer."""
    reader = asyncio.StreamReader()
    reading = asyncio.create_task(requests.read(reader))
    pieces = [b'{"content":"}', *[b"}"] * 30]
    while not reading.done():
        reader.feed_data(pieces.pop(0))
        await asyncio.wait((reading,), timeout=0.01)
    assert len(pieces) == 15
    with pytest.raises(WireError, match="truncated"):
        await reading


async def test_a_request_may_end_in_any_number_of_pieces_of_white_space() -> None:
    """None of them looks like its end, whatever was before."""
    reader = asyncio.StreamReader()
    reading = asyncio.create_task(requests.read(reader))
    for piece in (b'{"header":{"msg_id":"a"}', *[b" "] * 30, b"}"):
        reader.feed_data(piece)
        await asyncio.wait((reading,), timeout=0.005)
    message = await reading
    assert message is not None
    assert message.id == "a"


async def test_requests_in_flight_end_when_cloudhub_stops(
    cloud: Cloud, edge: Edge, tmp_path: Path
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(exchange(path, encoded(request())))
        await edge.receive()
    assert await asking == b""

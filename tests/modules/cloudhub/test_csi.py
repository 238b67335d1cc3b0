"""The CSI drivers' socket: requests to edges of both generations, and what their drivers read."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.cloudhub.csi import questions, requests, server
from modules.common.wire import WireError
from tests.modules.cloudhub import driver
from tests.modules.cloudhub.conftest import Cloud, Join
from tests.modules.cloudhub.driver import ask, asked, encoded, exchange, request
from tests.modules.cloudhub.edge import TEXT, Edge, frame

VOLUME = {"volume": {"capacity_bytes": 1073741824, "volume_id": "8d0f"}}
OPERATIONS = (
    "createvolume",
    "deletevolume",
    "controllerpublishvolume",
    "controllerunpublishvolume",
)

pytestmark = pytest.mark.usefixtures("_impatient")


@pytest.fixture(params=[False, True], ids=["v1.1", "v1.23"])
async def edge(request: pytest.FixtureRequest, cloud: Cloud, join: Join) -> Edge:
    """Connect edge-1, of one generation and then of the other."""
    made: Edge = await join(cloud, today=request.param)
    await cloud.expect("edge-1", "connected")
    return made


@pytest.fixture
async def today(cloud: Cloud, join: Join) -> Edge:
    made: Edge = await join(cloud, today=True)
    await cloud.expect("edge-1", "connected")
    return made


async def answer_one(edge: Edge, content: Any) -> Message:
    got = await edge.receive()
    await edge.send(got.response(content))
    return got


def failed(answer: dict[str, Any], said: str) -> None:
    """Assert that an answer is an error, which no call of a driver takes for success."""
    assert answer["route"]["operation"] == "error"
    assert (answer["route"]["source"], answer["route"]["group"]) == ("cloudhub", "resource")
    assert said in answer["content"]
    with pytest.raises(ValueError, match="base64"):
        base64.b64decode(answer["content"], validate=True)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_request_goes_to_the_edge_and_its_answer_back(
    cloud: Cloud, edge: Edge, tmp_path: Path, operation: str
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        document = request(operation=operation, sync=True, parent_msg_id="x", source="y", group="z")
        asking = asyncio.create_task(exchange(path, encoded(document)))
        got = await edge.receive()
        assert (got.id, got.parent_id, got.sync) == (document["header"]["msg_id"], "", False)
        assert (got.source, got.group, got.operation) == ("cloudhub", "resource", operation)
        assert got.resource == "default/volume/8d0f"
        content = got.content if isinstance(got.content, str) else got.content.decode()
        assert content == document["content"]
        await edge.send(got.response(VOLUME))
        answer = json.loads(await asking)
    assert answer["header"]["parent_msg_id"] == document["header"]["msg_id"]
    assert answer["header"]["msg_id"] not in {"", document["header"]["msg_id"]}
    assert answer["header"]["timestamp"] > 1568770352125
    assert answer["route"] == {
        "source": "cloudhub",
        "group": "resource",
        "operation": "response",
        "resource": "node/edge-1/default/volume/8d0f",
    }
    # The driver takes the content for base64, as Go writes the bytes that came over the wire.
    assert json.loads(base64.b64decode(answer["content"], validate=True)) == VOLUME


@pytest.mark.parametrize("content", [VOLUME, {}])
async def test_the_driver_understands_the_answer(
    cloud: Cloud, edge: Edge, tmp_path: Path, content: Any
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(asked(path, request()))
        await answer_one(edge, content)
        assert await asking == content


async def test_base64_of_an_edge_of_today_stays_as_it_is(
    cloud: Cloud, today: Edge, tmp_path: Path
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(asked(path, request()))
        await answer_one(today, base64.b64encode(json.dumps(VOLUME).encode()).decode())
        assert await asking == VOLUME


async def test_numbers_of_an_answer_stay_as_they_are_written(
    cloud: Cloud, today: Edge, tmp_path: Path
) -> None:
    written = b'{"volume":{"capacity_bytes":9223372036854775807, "x":1e999}}'
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, request()))
        got = await today.receive()
        header = f'{{"header":{{"msg_id":"i","parent_msg_id":"{got.id}"}},"route":'
        route = '{"operation":"response","resource":"default/volume/8d0f"},"content":'
        today.write(frame((header + route).encode() + written + b"}", TEXT))
        assert base64.b64decode((await asking)["content"]) == written


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "node edge-1 failed to do it"),
        ("", "node edge-1 failed to do it"),
        ({"volume": {"volume_id": "v" * driver.BUFFER}}, "a driver reads 10480"),
    ],
)
async def test_an_answer_of_no_use_to_the_driver_is_an_error(
    cloud: Cloud, edge: Edge, tmp_path: Path, content: Any, said: str
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, request()))
        await answer_one(edge, content)
        failed(await asking, said)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("no disk left", "no disk left"), ("e30=", "node edge-1 answered: e30="), ("<" * 99999, "<<")],
)
async def test_an_error_of_the_edge_is_never_taken_for_an_answer(
    cloud: Cloud, edge: Edge, tmp_path: Path, text: str, wanted: str
) -> None:
    """`e30=` is base64 of an answer without fields, which is what deletevolume expects."""
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, request(operation="deletevolume")))
        await edge.send((await edge.receive()).error(text))
        failed(await asking, wanted)


async def test_a_request_may_come_in_pieces_and_be_larger_than_go_reads(
    cloud: Cloud, edge: Edge, tmp_path: Path
) -> None:
    content = "{}" * 50_000
    data = encoded(request(content=content))
    end = data.index(b"{}") + 2  # what looks like the end of a message, in the middle
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(exchange(path, data[:end], data[end:70_000], data[70_000:]))
        got = await answer_one(edge, {})
        assert (got.content if isinstance(got.content, str) else got.content.decode()) == content
        assert json.loads(await asking)["content"] == "e30="


def routed(**route: str) -> bytes:
    return encoded(request(**route))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (routed(), "node edge-1 is not connected"),
        (b'{"header":{"msg_id":1}}', "cannot read the message"),
        (b"[1, 2]}", "cannot read the message"),
        (b"no JSON}", "cannot read the message"),
        (b'{"content":"' + b"x" * (1 << 20) + b'"}', "more than 1048576"),
        (routed(operation="insert"), "operation 'insert' is none of a CSI driver"),
        (routed(operation=""), "operation '' is none of a CSI driver"),
        (routed(resource="volume/1"), "is not node/{node}"),
        (routed(resource="node/edge-1/default/volume"), "is not node/{node}"),
        (routed(resource="node/edge-1/default/volume/a/b"), "is not node/{node}"),
        (routed(resource="node/edge-1/default/pod/a"), "is not node/{node}"),
        (routed(resource="node//default/volume/a"), "is not node/{node}"),
        (routed(resource="x" * 90_000, msg_id="y" * 90_000), "resource 'xxx"),
        (routed(operation="<" * 90_000), "operation '<<<"),
    ],
)
async def test_what_goes_wrong_comes_back_as_an_error(
    cloud: Cloud, tmp_path: Path, written: bytes, said: str
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        answer = await exchange(path, written)
        assert len(answer) < driver.BUFFER
        failed(json.loads(answer), said[:60])


async def test_a_request_without_an_id_gets_the_answer_to_it_alone(
    cloud: Cloud, edge: Edge, tmp_path: Path
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(asked(path, request(msg_id="")))
        got = await edge.receive()
        await edge.send(
            Message.build("edged", "meta", "update", "default/podstatus/p", "no answer")
        )
        assert (await cloud.next()).operation == "update"
        await edge.send(got.response({}))
        assert await asking == {}


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
    other = await join(cloud, "edge-2", today=True)
    async with driver.serving(cloud, tmp_path) as path:
        asking = [asyncio.create_task(asked(path, request(volume="a")))]
        got = await edge.receive()
        asking.append(asyncio.create_task(asked(path, request(volume="b"))))
        await asyncio.sleep(0.1)  # until it waits; else the next one waits, and this one fails
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


async def test_requests_in_flight_end_when_cloudhub_stops(
    cloud: Cloud, edge: Edge, tmp_path: Path
) -> None:
    async with driver.serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(exchange(path, encoded(request())))
        await edge.receive()
    assert await asking == b""

"""The CSI driver's socket: a request to the edge and its answer (cloud/pkg/csidriver)."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from modules.cloudhub import csi
from modules.cloudhub.csi import CsiServer
from modules.common.wire import json_form
from tests.modules.cloudhub.conftest import Cloud, Join
from tests.modules.cloudhub.edge import TEXT, Edge, frame

# As v1.1.0 encodes it: its tags say ", omitempty" with a space, so that nothing is left out.
REQUEST = {
    "header": {
        "msg_id": "a7dd17f1-7d4a-4ef4-b9b0-7a4d4b0f8e52",
        "parent_msg_id": "",
        "timestamp": 1568770352125,
        "sync": False,
    },
    "route": {
        "source": "cloudhub",
        "group": "resource",
        "operation": "createvolume",
        "resource": "node/edge-1/default/volume/8d0f",
    },
    "content": '{"name":"pvc-1","capacityRange":{"requiredBytes":"1073741824"}}',
}


@asynccontextmanager
async def serving(cloud: Cloud, directory: Path) -> AsyncIterator[Path]:
    path = directory / "kubeedge.sock"
    async with CsiServer(f"unix://{path}", cloud.context, 1 << 20):
        yield path
    assert not path.exists()


async def ask(path: Path, *pieces: bytes) -> dict[str, Any]:
    """Send a request as the driver does: write, keep the connection open, and read once."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(path)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        answer: dict[str, Any] = json.loads(await reader.read(10480))
        writer.close()
        await writer.wait_closed()
        return answer


async def answer_one(edge: Edge, content: Any) -> None:
    await edge.send((await edge.receive()).response(content))


async def test_a_message_goes_through_the_edge_and_back(
    cloud: Cloud, join: Join, tmp_path: Path
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    async with serving(cloud, tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        asking = asyncio.create_task(ask(path, json.dumps(REQUEST).encode()))
        got = await edge.receive()
        assert (got.id, got.resource) == (REQUEST["header"]["msg_id"], "default/volume/8d0f")
        assert (got.source, got.group, got.operation) == ("cloudhub", "resource", "createvolume")
        assert got.content.decode() == REQUEST["content"]
        volume = {"volume": {"volume_id": "8d0f"}}
        await edge.send(got.response(volume))
        answer = await asking
    assert answer["header"]["parent_msg_id"] == REQUEST["header"]["msg_id"]
    assert answer["route"]["operation"] == "response"
    # The driver takes the content for base64, as Go writes the bytes that came over the wire.
    assert json.loads(base64.b64decode(answer["content"])) == volume


@pytest.mark.parametrize(
    "content", [base64.b64encode(b"{}").decode(), {"volume": {"volume_id": "8d0f"}}, None]
)
async def test_an_edge_of_today_answers_in_json(
    cloud: Cloud, join: Join, tmp_path: Path, content: Any
) -> None:
    """A real one answers with base64 in a string, as the driver expects it."""
    edge = await join(cloud, today=True)
    await cloud.expect("edge-1", "connected")
    async with serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, json.dumps(REQUEST).encode()))
        await answer_one(edge, content)
        assert (await asking)["content"] == content


async def test_an_answer_that_cannot_be_read_is_an_error(
    cloud: Cloud, join: Join, tmp_path: Path
) -> None:
    edge = await join(cloud, today=True)
    await cloud.expect("edge-1", "connected")
    async with serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, json.dumps(REQUEST).encode()))
        (answer,) = json_form.encode((await edge.receive()).response("number"))
        edge.write(frame(answer.replace(b'"number"', b"1e999"), TEXT))
        got = await asking
    assert got["route"]["operation"] == "error"
    assert "the answer of node edge-1 cannot be used" in got["content"]
    assert "edge-1" in cloud.hub.sessions


async def test_a_message_may_come_in_pieces_and_be_larger_than_go_reads(
    cloud: Cloud, join: Join, tmp_path: Path
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    content = "{}" * 50_000
    data = json.dumps(REQUEST | {"content": content}).encode()
    async with serving(cloud, tmp_path) as path:
        asking = asyncio.create_task(ask(path, data[:200], data[200:70_000], data[70_000:]))
        got = await edge.receive()
        assert got.content.decode() == content
        await edge.send(got.response("done"))
        assert base64.b64decode((await asking)["content"]) == b"done"


async def test_several_at_a_time_each_get_their_own_answer(
    cloud: Cloud, join: Join, tmp_path: Path
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    requests = [REQUEST | {"header": REQUEST["header"] | {"msg_id": f"id-{n}"}} for n in range(5)]
    async with serving(cloud, tmp_path) as path:
        asking = [asyncio.create_task(ask(path, json.dumps(each).encode())) for each in requests]
        got = [await edge.receive() for _ in requests]
        for message in reversed(got):
            await edge.send(message.response(f"for {message.id}"))
        for request, answer in zip(requests, await asyncio.gather(*asking), strict=True):
            wanted = f"for {request['header']['msg_id']}"
            assert base64.b64decode(answer["content"]).decode() == wanted


async def test_a_node_of_another_process_is_reached(
    run_hubs: Callable, join: Join, tmp_path: Path
) -> None:
    async with run_hubs(2) as (first, second):
        edge = await join(second)
        await first.expect("edge-1", "connected")
        async with serving(first, tmp_path) as path:
            asking = asyncio.create_task(ask(path, json.dumps(REQUEST).encode()))
            await answer_one(edge, "done")
            assert base64.b64decode((await asking)["content"]) == b"done"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (json.dumps(REQUEST).encode(), "node edge-1 is not connected"),
        (b'{"header":{"msg_id":1}}', "cannot read the message"),
        (b"[1, 2]}", "cannot read the message"),
        (
            json.dumps(REQUEST | {"route": REQUEST["route"] | {"resource": "volume/1"}}).encode(),
            "does not start with node/",
        ),
        (b'{"content":"' + b"x" * (1 << 20) + b'"}', "more than 1048576"),
    ],
)
async def test_what_goes_wrong_comes_back_as_an_error(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes, said: str
) -> None:
    monkeypatch.setattr(csi, "_REQUEST", 0.3)
    async with serving(cloud, tmp_path) as path:
        answer = await ask(path, written)
    assert answer["route"]["operation"] == "error"
    assert answer["route"]["source"] == "cloudhub"
    assert said in answer["content"]


async def test_an_edge_that_does_not_answer_is_not_waited_for_for_ever(
    cloud: Cloud, join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csi, "_ANSWER", 0.2)
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    async with serving(cloud, tmp_path) as path:
        answer = await ask(path, json.dumps(REQUEST).encode())
        await edge.receive()
    assert answer["route"]["operation"] == "error"
    assert "did not answer" in answer["content"]
    assert answer["header"]["parent_msg_id"] == REQUEST["header"]["msg_id"]


async def test_who_connects_and_says_nothing_is_let_go(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csi, "_REQUEST", 0.2)
    async with serving(cloud, tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        answer = json.loads(await asyncio.wait_for(reader.read(), 10))
        assert "not complete within" in answer["content"]
        writer.close()
        await writer.wait_closed()
        _, gone = await asyncio.open_unix_connection(path)
        gone.close()  # and who goes away at once is nobody's concern
        await gone.wait_closed()

"""The CSI drivers' socket: requests to edges of both generations, and what their drivers read."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from tests.modules.cloudhub import driver
from tests.modules.cloudhub.cloud import Cloud
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
from tests.modules.cloudhub.edge import TEXT, Edge, frame

OPERATIONS = (
    "createvolume",
    "deletevolume",
    "controllerpublishvolume",
    "controllerunpublishvolume",
)


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

"""A CSI driver of an edge, as far as CloudHub sees it (cloud/pkg/csidriver)."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.cloudhub.csi.server import CsiServer
from modules.cloudhub.questions import Questions
from tests.modules.cloudhub.cloud import Cloud
from tests.modules.cloudhub.edge import Edge

DEADLINE = 20.0
VOLUME = {"volume": {"capacity_bytes": 1073741824, "volume_id": "8d0f"}}
#: What a driver reads of its answer, in one read.
BUFFER = 10480
CREATE = '{"name":"pvc-1","capacityRange":{"requiredBytes":"1073741824"}}'


class DriverError(Exception):
    """What the driver answers to the provisioner, if not a volume."""


def request(
    node: str = "edge-1",
    operation: str = "createvolume",
    volume: str = "8d0f",
    content: Any = CREATE,
    **fields: Any,
) -> dict[str, Any]:
    """Return a request as v1.1.0 encodes it; today's driver leaves out what is empty.

    The tags of v1.1.0 say ", omitempty" with a space, so that nothing is left out.
    """
    header = {
        "msg_id": "a7dd17f1-7d4a-4ef4-b9b0-7a4d4b0f8e52",
        "parent_msg_id": "",
        "timestamp": 1568770352125,
        "sync": False,
    }
    route = {
        "source": "cloudhub",
        "group": "resource",
        "operation": operation,
        "resource": f"node/{node}/default/volume/{volume}",
    }
    header |= {key: fields[key] for key in fields if key in header}
    route |= {key: fields[key] for key in fields if key in route}
    return {"header": header, "route": route, "content": content}


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


async def exchange(path: Path, *pieces: bytes) -> bytes:
    """Write, keep the connection open, and read once, as the driver does."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        connection.connect(str(path))  # at once, or not at all
        async with asyncio.timeout(DEADLINE):
            for number, piece in enumerate(pieces):
                if number:
                    await asyncio.sleep(0.01)
                await loop.sock_sendall(connection, piece)
            return await loop.sock_recv(connection, BUFFER)


async def ask(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request, as it is on the socket."""
    answer: dict[str, Any] = json.loads(await exchange(path, encoded(document)))
    return answer


async def asked(path: Path, document: dict[str, Any]) -> Any:
    """Return what the driver makes of the answer; raises DriverError as it does.

    After CreateVolume of controllerserver.go; the other calls look at the operation of their
    question, in place of that of the answer (a bug that is in all versions).
    """
    answer = await ask(path, document)
    content, operation = answer["content"], document["route"]["operation"]
    if not isinstance(content, str):
        raise DriverError(f"content type {type(content).__name__} is not string")
    if answer["route"]["operation"] == "error" and operation == "createvolume":
        raise DriverError(content)
    try:
        return json.loads(base64.b64decode(content, validate=True))
    except ValueError as error:
        raise DriverError(str(error)) from error


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


@asynccontextmanager
async def serving(cloud: Cloud, directory: Path) -> AsyncIterator[Path]:
    """Serve drivers at a socket in the directory; it is gone afterwards."""
    path = directory / "kubeedge.sock"
    questions = Questions(cloud.context)  # type: ignore[arg-type]
    cloud.hub.on_disconnected(questions.disconnected)
    async with CsiServer(f"unix://{path}", questions):
        yield path
    assert not path.exists()

"""Acknowledgements are read together, and nothing else is delayed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from ipc import Message
from modules.cloudhub.endpoint import ack_coalescing
from tests.modules.cloudhub.cloud import DEADLINE, Cloud, Join


@pytest.fixture
def _for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the delay endless."""
    monkeypatch.setattr(ack_coalescing, "_DELAY", 3600.0)


async def _connected(cloud: Cloud, join: Join, *nodes: str, today: bool = False) -> list[Any]:
    """Connect edges, and consume their `connected`."""
    edges = [await join(cloud, node, today=today) for node in nodes]
    for node in nodes:
        await cloud.expect(node, "connected")
    return edges


def _small(name: str) -> Message:
    return Message.build("edged", "resource", "query", f"default/configmap/{name}")


async def _tell_and_answer(cloud: Cloud, edge: Any, node: str = "edge-1") -> str:
    """Send a pod to an edge and have it acknowledge; return the message's id."""
    sent = await cloud.send(node, "default/pod/p", "insert")
    await edge.send((await edge.receive()).response("OK"))
    return sent


@pytest.mark.usefixtures("_for_ever")
@pytest.mark.parametrize("today", [False, True])
async def test_an_acknowledgement_waits_for_more_to_read(
    cloud: Cloud, join: Join, today: bool
) -> None:
    edge, other = await _connected(cloud, join, "edge-1", "edge-2", today=today)
    sent = await _tell_and_answer(cloud, edge)
    await other.send(_small("c"))
    assert (await cloud.next()).resource == "node/edge-2/default/configmap/c"
    large = Message.build("edged", "meta", "update", "default/nodestatus/edge-1", "x" * 2000)
    await edge.send(large)
    assert (await cloud.next()).parent_id == sent
    assert (await cloud.next()).resource == "node/edge-1/default/nodestatus/edge-1"


async def test_acknowledgements_come_by_themselves_again_and_again(
    cloud: Cloud, join: Join
) -> None:
    nodes = "edge-1", "edge-2"
    edges = dict(zip(nodes, await _connected(cloud, join, *nodes), strict=True))
    for _ in range(3):
        sent = {await _tell_and_answer(cloud, edge, node) for node, edge in edges.items()}
        assert {(await cloud.next()).parent_id for _ in edges} == sent
    await edges["edge-1"].send(_small("c"))
    assert (await cloud.next()).resource == "node/edge-1/default/configmap/c"


@pytest.mark.usefixtures("_for_ever")
async def test_the_end_of_a_connection_is_seen_at_once(cloud: Cloud, join: Join) -> None:
    [edge] = await _connected(cloud, join, "edge-1")
    sent = await _tell_and_answer(cloud, edge)
    await edge.leave()
    assert (await cloud.next()).parent_id == sent
    await cloud.expect("edge-1", "disconnected")


async def test_a_connection_that_has_ended_meanwhile_hurts_nobody(
    cloud: Cloud, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ack_coalescing, "_DELAY", 0.5)
    edge, other = await _connected(cloud, join, "edge-1", "edge-2")
    await _tell_and_answer(cloud, edge)
    await edge.leave()
    await cloud.next()
    await cloud.expect("edge-1", "disconnected")
    sent = await _tell_and_answer(cloud, other, "edge-2")
    assert (await cloud.next()).parent_id == sent


async def test_a_connection_that_has_just_ended_hurts_nobody() -> None:
    with socket.socket() as ended:
        pass
    ack_coalescing.AckCoalescing().expect(ended)


@pytest.mark.usefixtures("_for_ever")
async def test_an_answer_that_somebody_waits_for_is_read_at_once(cloud: Cloud, join: Join) -> None:
    [edge] = await _connected(cloud, join, "edge-1")
    question = Message.build("csi", "resource", "update", "node/edge-1/edge-1/volume/v", {"s": 1})
    asking = asyncio.create_task(cloud.edgecontroller.send_sync("cloudhub", question, DEADLINE))
    await edge.send((await edge.receive()).response("done"))
    assert (await asking).content == b"done"
    await cloud.send("edge-1", "default/configmap/c", "response")
    await edge.receive()
    await edge.send(_small("d"))
    assert (await cloud.next()).resource == "node/edge-1/default/configmap/d"

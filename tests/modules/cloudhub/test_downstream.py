"""Cloud to edge: the right session, the right form, in order, isolated from other edges."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from ipc import Message
from modules.common.wire.packed import encode
from tests.modules.cloudhub.cloud import DEADLINE, Cloud, Join
from tests.modules.cloudhub.edge import BINARY
from tests.support.waiting import until


async def test_an_edge_gets_header_and_payload_without_the_node(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    pod = {"metadata": {"name": "p", "annotations": {"a": "<&>"}}}
    sent = Message.build("edgecontroller", "resource", "insert", "node/edge-1/default/pod/p", pod)
    await cloud.edgecontroller.send("cloudhub", sent)
    expected = Message(
        sent.id, "", sent.timestamp, False, "edgecontroller", "resource", "insert",
        "default/pod/p", pod,
    )  # fmt: skip
    header, payload = encode(expected)
    assert await edge.read_frame() == (BINARY, header)
    assert await edge.read_frame() == (BINARY, payload)


async def test_the_order_is_kept(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    for number in range(500):
        await cloud.send("edge-1", f"default/pod/p{number}", "insert")
    for number in range(500):
        assert (await edge.receive()).resource == f"default/pod/p{number}"


async def test_a_node_that_is_not_connected_is_counted(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    await cloud.send("edge-2", "default/pod/p")
    await cloud.send("edge-1", "default/pod/p")
    await edge.receive()
    assert cloud.hub.statistics.not_connected == 1


@pytest.mark.parametrize(
    ("resource", "operation"),
    [
        ("membership", "get"),
        ("twin", "delta"),
        ("twin", "document"),
        ("twin", "get"),
        ("auth_info", "get"),
        ("node", "deleted"),
    ],
)
async def test_some_events_are_not_for_edges(
    cloud: Cloud, join: Join, resource: str, operation: str
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    await cloud.send("edge-1", resource, operation, source="edgemgr")
    await cloud.send("edge-1", resource, operation, source="another")
    await cloud.send("edge-1", resource, "detail", source="edgemgr")
    assert (await edge.receive()).source == "another"
    assert (await edge.receive()).operation == "detail"


async def test_whether_a_node_exists_is_answered_here(cloud: Cloud, join: Join) -> None:
    await join(cloud)
    await cloud.expect("edge-1", "connected")
    asked = await cloud.send("edge-1", "default/x", "request_exist")
    answer = await cloud.next()
    assert (answer.operation, answer.parent_id) == ("response_exist", asked)
    assert answer.id != asked


async def test_who_waits_for_it_is_told_whether_a_node_exists(cloud: Cloud, join: Join) -> None:
    await join(cloud)
    await cloud.expect("edge-1", "connected")
    for node, expected in (("edge-1", "response_exist"), ("edge-2", "error")):
        question = Message.build("edgecontroller", "resource", "request_exist", f"node/{node}")
        answer = await cloud.edgecontroller.send_sync("cloudhub", question, 10)
        assert answer.operation == expected


@pytest.mark.parametrize(
    ("operation", "content"), [("deleted", None), ("updated", {"action": "stop"})]
)
async def test_a_node_that_is_no_more_is_disconnected(
    cloud: Cloud, join: Join, operation: str, content: object
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    other = Message.build("edgecontroller", "resource", "updated", "node/edge-1", {"action": "go"})
    await cloud.edgecontroller.send("cloudhub", other)
    assert (await edge.receive()).resource == "node/edge-1"
    stop = Message.build("edgecontroller", "resource", operation, "node/edge-1", content)
    await cloud.edgecontroller.send("cloudhub", stop)
    assert (await edge.closed())[0] == 1000
    await cloud.expect("edge-1", "disconnected")


async def test_a_question_to_an_edge_is_answered(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    question = Message.build(
        "edgecontroller", "resource", "update", "node/edge-1/edge-1/volume/v", {"size": 1}
    )
    asking = asyncio.create_task(cloud.edgecontroller.send_sync("cloudhub", question, DEADLINE))
    got = await edge.receive()
    assert (got.id, got.resource, got.sync) == (question.id, "edge-1/volume/v", False)
    await edge.send(got.response("done"))
    answer = await asking
    assert (answer.parent_id, answer.content) == (question.id, b"done")


async def test_a_question_to_a_node_that_is_away_fails_at_once(cloud: Cloud) -> None:
    question = Message.build("edgecontroller", "resource", "query", "node/edge-9/default/pod/p")
    answer = await cloud.edgecontroller.send_sync("cloudhub", question, DEADLINE)
    assert answer.operation == "error"
    assert answer.content == "node edge-9 is not connected"


async def test_a_question_to_a_node_that_leaves_fails_at_once(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    question = Message.build("edgecontroller", "resource", "query", "node/edge-1/default/pod/p")
    asking = asyncio.create_task(cloud.edgecontroller.send_sync("cloudhub", question, DEADLINE))
    await edge.receive()
    await edge.leave()
    answer = await asking
    assert (answer.operation, answer.parent_id) == ("error", question.id)


async def test_a_message_for_no_node_is_dropped(
    cloud: Cloud, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    lost = Message.build("edgecontroller", "resource", "update", "default/pod/p")
    await cloud.edgecontroller.send("cloudhub", lost)
    await cloud.send("edge-1", "default/pod/p")
    await edge.receive()
    assert "does not start with node/{node}" in caplog.text


async def test_what_cannot_be_encoded_is_set_aside_and_its_sender_told(
    cloud: Cloud, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    for _ in range(3):
        bad = await cloud.send("edge-1", "default/pod/p", content={"n": math.nan})
        refusal = await cloud.next()
        assert (refusal.operation, refusal.parent_id) == ("error", bad)
        assert refusal.resource == "node/edge-1/default/pod/p"
        assert "NaN and infinity are no values of JSON" in refusal.content
    asked = Message.build(
        "edgecontroller", "resource", "query", "node/edge-1/default/pod/p", math.inf
    )
    answer = await cloud.edgecontroller.send_sync("cloudhub", asked, DEADLINE)
    assert (answer.operation, answer.parent_id) == ("error", asked.id)
    (line,) = [each for each in caplog.messages if "is set aside" in each]
    assert line.startswith("node/edge-1/default/pod/p: update is set aside: message ")
    assert cloud.hub.statistics.undeliverable_down == 4
    await cloud.send("edge-1", "default/pod/p")
    assert (await edge.receive()).resource == "default/pod/p"


async def test_an_edge_that_does_not_read_harms_only_itself(run_hub: Callable, join: Join) -> None:
    """Its queue fills up and it is disconnected; another edge's messages are not delayed."""
    async with run_hub(queue_messages=50, queue_bytes=1 << 20) as cloud:
        slow, quick = await join(cloud, "edge-1"), await join(cloud, "edge-2")
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-2", "connected")
        content = {"data": "x" * 100_000}
        for number in range(400):
            await cloud.send("edge-1", f"default/configmap/c{number}", content=content)
            await cloud.send("edge-2", f"default/pod/p{number}")
            assert (await quick.receive()).resource == f"default/pod/p{number}"
        await cloud.expect("edge-1", "disconnected")
        assert cloud.hub.statistics.ended == {"queue": 1}
        await slow.gone()


async def test_a_write_that_takes_too_long_ends_the_session(run_hub: Callable, join: Join) -> None:
    async with run_hub(write_timeout=0.5) as cloud:
        slow = await join(cloud)
        await cloud.expect("edge-1", "connected")
        content = {"data": "x" * 100_000}
        for number in range(120):
            await cloud.send("edge-1", f"default/configmap/c{number}", content=content)
        await cloud.expect("edge-1", "disconnected")
        assert cloud.hub.statistics.ended == {"write": 1}
        await slow.gone()


async def test_states_wait_for_a_slow_edge_and_only_the_last_is_sent(
    cloud: Cloud, join: Join
) -> None:
    slow = await join(cloud)
    await cloud.expect("edge-1", "connected")
    content = {"data": "x" * 100_000}
    for number in range(100):
        await cloud.send("edge-1", f"default/configmap/c{number}", content=content)
    for number in range(50):
        await cloud.send("edge-1", "default/pod/p", content={"n": number})
    session = cloud.hub.sessions["edge-1"]
    await until(lambda: session.queue.superseded == 49)
    for number in range(100):
        assert (await slow.receive()).resource == f"default/configmap/c{number}"
    last = await slow.receive()
    assert (last.resource, last.content) == ("default/pod/p", b'{"n":49}')

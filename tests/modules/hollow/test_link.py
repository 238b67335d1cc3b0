"""The connection: dial, keepalives, loss and reconnect."""

from __future__ import annotations

import asyncio
import gc
import ssl
from dataclasses import replace
from pathlib import Path

import psutil
from picows import WSMsgType, WSUpgradeResponse

from ipc import Message
from modules.common.pki import certificates
from modules.common.wire.packed import encode
from modules.hollow import tls
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from modules.hollow.versions import PROJECT_ID
from tests.modules.hollow.cloud import QUICK, Cloud, captured
from tests.support.pki import copy_pki
from tests.support.waiting import DEADLINE


async def test_the_handshake_is_the_recorded_one(cloud: Cloud, edge: HollowEdge) -> None:
    recorded = next(line["http"] for line in captured() if line["dir"] == "edge->cloud")
    wanted = {name.lower(): value for name, value in (h.split(": ", 1) for h in recorded[1:])}
    request = cloud.requests[0]
    path = recorded[0].split()[1]
    assert request.path.decode() == path.replace("edge-node-1", "edge-1")
    assert path == f"/{PROJECT_ID}/edge-node-1/events"
    for name in ("connectionuse", "project_id", "sec-websocket-version"):
        assert request.headers[name] == wanted[name]
    assert request.headers["node_id"] == "edge-1"
    assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & wanted.keys()
    assert "Sec-WebSocket-Protocol" not in request.headers
    assert "Sec-WebSocket-Extensions" not in request.headers


async def test_first_messages_are_the_recorded_ones(cloud: Cloud, edge: HollowEdge) -> None:
    recorded = [
        line["message"]
        for line in captured()
        if line["dir"] == "edge->cloud" and "message" in line and line["conn"] == 1
    ][:2]
    await cloud.wait(lambda: len(cloud.messages) >= 2)
    for message, wanted in zip(cloud.messages, recorded, strict=False):
        route = wanted["route"]
        assert (message.source, message.group) == (route["source"], route["group"])
        assert (message.operation, message.resource) == (route["operation"], route["resource"])
        assert not message.sync
    ping, membership = cloud.messages[:2]
    assert ping.content == b"ping"
    assert _shape(membership.content.decode()) == _shape(recorded[1]["content"])


def _shape(text: str) -> str:
    """Return JSON text without what differs between sessions."""
    head, _, _ = text.partition('"timestamp"')
    return head.replace("edge-node-1", "edge-1")


async def test_each_message_is_two_binary_websocket_messages(
    cloud: Cloud, edge: HollowEdge
) -> None:
    await cloud.wait(lambda: len(cloud.frames) >= 4)
    assert [len(frame) == 10 for frame in cloud.frames[:4]] == [True, False, True, False]


async def test_keeps_alive(cloud: Cloud, edge: HollowEdge) -> None:
    await cloud.message("keepalive", "node", skip=2)


async def test_shows_its_certificate_and_checks_the_clouds(
    tls_cloud: Cloud, edge_tls: ssl.SSLContext, pki: certificates.Pki
) -> None:
    async with HollowEdge("edge-1", tls_cloud.url, edge_tls, kubeedge="1.1", timing=QUICK) as edge:
        await edge.wait_connected()
        await tls_cloud.wait(lambda: tls_cloud.sessions)
        transport = tls_cloud.sessions[0].transport
        assert transport is not None
        subject = dict(
            pair
            for part in transport.underlying_transport.get_extra_info("ssl_object").getpeercert()[
                "subject"
            ]
            for pair in part
        )
        assert subject == {"organizationName": "system:nodes", "commonName": "system:node:edge-1"}


async def test_a_cloud_of_another_ca_is_not_trusted(tls_cloud: Cloud, tmp_path: Path) -> None:
    context = tls.issue(tmp_path / "pki", "edge-1")
    events: list[Event] = []
    async with HollowEdge(
        "edge-1", tls_cloud.url, context, kubeedge="1.1", timing=QUICK, on_event=events.append
    ) as edge:
        await edge.wait_until(lambda: len(events) >= 2, 20, "two attempts")
    assert {event.kind for event in events} == {"unreachable"}
    assert events[0].detail.startswith("its certificate is not accepted: ")
    assert "names" not in events[0].detail
    assert not tls_cloud.sessions


async def test_a_cloud_whose_certificate_is_for_others_is_not_trusted(
    tls_cloud: Cloud, tmp_path: Path, pki: certificates.Pki
) -> None:
    copy_pki(pki, tmp_path)
    context = tls.issue(tmp_path / "pki", "edge-1")
    context.check_hostname = True  # as an edge that has joined does
    events: list[Event] = []
    url = tls_cloud.url.replace("127.0.0.1", "127.1")  # which no certificate names
    async with HollowEdge(
        "edge-1", url, context, kubeedge="1.1", timing=QUICK, on_event=events.append
    ) as edge:
        await edge.wait_until(lambda: len(events) >= 1, 20, "an attempt")
    assert events[0].detail == (
        "its certificate is not accepted: Hostname mismatch, certificate is not valid for '127.1'; "
        "add it to modules.cloudhub.names of cloudcore"
    )


async def test_without_a_cloud_it_says_why(unused_tcp_port: int) -> None:
    events: list[Event] = []
    url = f"ws://127.0.0.1:{unused_tcp_port}"
    async with HollowEdge("edge-1", url, timing=QUICK, on_event=events.append) as edge:
        await edge.wait_until(lambda: len(events) >= 2, 20, "two attempts")
    assert {event.detail for event in events} == {"Connection refused"}


async def test_an_edge_that_ends_at_any_step_of_its_dial_leaves_no_socket(
    tls_cloud: Cloud, edge_tls: ssl.SSLContext
) -> None:
    process = psutil.Process()
    open_before = len(process.net_connections())
    connected = False
    steps = 0
    while not connected:
        async with HollowEdge("edge-1", tls_cloud.url, edge_tls, kubeedge="1.1", timing=QUICK) as e:
            for _ in range(steps):
                await asyncio.sleep(0)
            connected = e.connected
        async with asyncio.timeout(DEADLINE):
            while len(process.net_connections()) > open_before:
                await asyncio.sleep(0)
        gc.collect()  # a transport that is left open warns
        steps += 1
    assert steps > 5


async def test_a_refusal_says_why_and_is_tried_again(cloud: Cloud) -> None:
    cloud.refuse_with = WSUpgradeResponse.create_error_response(503, b"node limit 10 reached")
    events: list[Event] = []
    async with HollowEdge(
        "edge-1", cloud.url, kubeedge="1.1", timing=QUICK, on_event=events.append
    ) as edge:
        await edge.wait_until(lambda: len(events) >= 6, 20, "six attempts")
        cloud.refuse_with = None
        await edge.wait_connected()
    assert (events[0].kind, events[0].detail) == ("refused", "HTTP 503 node limit 10 reached")


async def test_dials_again_two_heartbeats_after_it_noticed(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    edge.link.drop()
    await edge.wait_until(lambda: edge.link.connects == 2, 20, "the second connection")
    await cloud.wait(lambda: len(cloud.sessions) == 2)
    at = {event.kind: event.at for event in events}
    kinds = [event.kind for event in events]
    assert kinds.index("disconnected") < kinds.index("lost")
    assert at["connected"] - at["lost"] >= 2 * QUICK.heartbeat
    await cloud.message("get", "membership/detail", skip=1)


async def test_a_close_by_the_cloud_is_answered_and_noticed_at_the_next_write(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    transport = cloud.sessions[0].transport
    assert transport is not None
    transport.send_close()
    await edge.wait_until(lambda: edge.link.connects == 2, 20, "the second connection")
    assert "disconnected" in [event.kind for event in events]


async def test_what_is_sent_without_a_link_comes_after_the_redial(cloud: Cloud) -> None:
    edge = HollowEdge("edge-1", cloud.url, kubeedge="1.1", timing=QUICK)
    for number in range(3):
        edge.link.send(Message.build("edged", "meta", "update", f"default/x/{number}"))
    async with edge:
        for number in range(3):
            await cloud.message("update", f"default/x/{number}")
    resources = [message.resource for message in cloud.messages]
    assert resources[:2] == ["node", "membership/detail"]


async def test_a_bad_frame_ends_the_session(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    cloud.send_raw(b"not a header")
    await edge.wait_until(lambda: edge.link.connects == 2, 20, "the second connection")
    assert "bad frame" in [event.kind for event in events]


async def test_text_messages_and_pieces_are_taken_too(cloud: Cloud, edge: HollowEdge) -> None:
    transport = cloud.sessions[0].transport
    assert transport is not None
    message = Message.build("edgecontroller", "resource", "insert", "default/configmap/c", {})
    header, payload = encode(message)
    for part in (b"", header, payload[:5], b"", payload[5:]):
        transport.send(WSMsgType.TEXT, part)
    answer = await cloud.message("response", "default/configmap/c")
    assert answer.parent_id == message.id


async def test_many_in_one_process(cloud: Cloud) -> None:
    slow = replace(QUICK, heartbeat=10)
    edges = [
        HollowEdge(f"edge-{number}", cloud.url, kubeedge="1.1", timing=slow) for number in range(50)
    ]
    tasks = [asyncio.create_task(edge.run()) for edge in edges]
    await asyncio.gather(*(edge.wait_connected() for edge in edges))
    await cloud.wait(lambda: len(cloud.sessions) == 50)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    assert not any(edge.connected for edge in edges)

"""The life cycle of a session: keepalives, takeovers, bad frames, close codes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipc import Message
from modules.cloudhub.session.session import Session
from modules.common.wire import generations, json_form
from modules.common.wire.packed import encode
from tests.modules.cloudhub.cloud import Cloud, Join
from tests.modules.cloudhub.edge import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Edge, frame
from tests.support.waiting import until

HEADER = bytes.fromhex("01010100 01 00")


def parts(resource: str = "default/podstatus") -> tuple[bytes, bytes]:
    header, payload = encode(Message.build("edged", "resource", "update", resource, "{}"))
    return header, payload


async def test_a_newer_connection_takes_over_at_once(cloud: Cloud, join: Join) -> None:
    older = await join(cloud)
    await cloud.expect("edge-1", "connected")
    newer = await join(cloud)
    code, reason = await older.closed()
    assert code == 1000
    assert "newer connection" in reason
    await cloud.expect("edge-1", "disconnected")
    await cloud.expect("edge-1", "connected")
    await cloud.send("edge-1", "default/pod/p")
    assert (await newer.receive()).resource == "default/pod/p"
    assert len(cloud.hub.sessions) == 1


def keep(monkeypatch: pytest.MonkeyPatch, node: str) -> None:
    """Have each look at the session of a node find that a keepalive has just come."""
    check = Session.check

    def lively(session: Session, now: float) -> float:
        return check(session, session.last_keepalive if session.node == node else now)

    monkeypatch.setattr(Session, "check", lively)


async def test_an_edge_without_keepalives_is_disconnected(
    run_hub: Callable, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(monkeypatch, "edge-2")
    async with run_hub(keepalive_interval=0.4) as cloud:
        await join(cloud, "edge-2")
        await cloud.expect("edge-2", "connected")
        mute = await join(cloud, "edge-1")
        assert await mute.closed() == (1008, "no keepalive for 0.4 s")
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-1", "disconnected")
        assert list(cloud.hub.sessions) == ["edge-2"]


async def test_a_dead_edge_is_cut_off(run_hub: Callable, join: Join) -> None:
    """An edge that does not answer the close frame either, as behind a broken network."""
    async with run_hub(keepalive_interval=0.2) as cloud:
        dead = await join(cloud)
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-1", "disconnected")
        await dead.gone()


@pytest.mark.parametrize("today", [False, True])
async def test_an_edge_is_connected_from_its_first_message_on(
    run_hub: Callable, join: Join, monkeypatch: pytest.MonkeyPatch, today: bool
) -> None:
    """However late it comes: what is sent to it must be of its form."""
    keep(monkeypatch, "edge-1")
    async with run_hub(keepalive_interval=0.4) as cloud:
        late = await join(cloud, "edge-1", silent=True, today=today)
        mute = await join(cloud, "edge-2", silent=True)
        await cloud.send("edge-1", "default/pod/lost")
        await until(lambda: cloud.hub.statistics.not_connected == 1)
        await late.keepalive()
        await cloud.expect("edge-1", "connected")
        await cloud.send("edge-1", "default/pod/p")
        assert (await late.receive()).resource == "default/pod/p"
        assert (await mute.closed())[0] == 1008


async def test_an_edge_that_closes_is_answered(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    edge.write(frame(struct.pack(">H", 4001) + b"bye", CLOSE))
    assert await edge.read_frame() == (CLOSE, struct.pack(">H", 4001))
    await cloud.expect("edge-1", "disconnected")
    assert cloud.hub.statistics.ended == {"closed by edge": 1}


async def test_an_edge_that_breaks_off_is_noticed(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    await edge.leave()
    await cloud.expect("edge-1", "disconnected")
    assert cloud.hub.statistics.ended == {"lost": 1}


async def test_pings_are_answered(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud)
    edge.write(frame(b"", PONG) + frame(b"are you there", PING))
    assert await edge.read_frame() == (PONG, b"are you there")


async def test_stopping_says_come_back(run_hub: Callable, join: Join) -> None:
    async with run_hub() as cloud:
        edge = await join(cloud)
        await cloud.expect("edge-1", "connected")
        cloud.context.stop()
        code, reason = await edge.closed()
        assert code == 1001
        assert "connect again" in reason
        await cloud.expect("edge-1", "disconnected")


async def test_stopping_tells_one_after_the_other(run_hub: Callable, join: Join) -> None:
    """The reconnects are spread, and an edge is served until its session is closed."""
    async with run_hub(stop_spread=0.6, authorization="any-trusted") as cloud:
        loop = asyncio.get_running_loop()
        edges = [await join(cloud, f"edge-{n}", certificate="edge-1") for n in range(100)]
        for number in range(100):
            await cloud.expect(f"edge-{number}", "connected")

        async def told(edge: Edge) -> float:
            assert (await edge.closed())[0] == 1001
            return loop.time()

        asking = [asyncio.create_task(told(edge)) for edge in edges]
        cloud.context.stop()
        times = sorted(await asyncio.gather(*asking))
        early, late = (sum(each - times[0] < t for each in times) for t in (0.2, 0.4))
        assert times[-1] - times[0] > 0.5
        assert early < 50
        assert late < 90


async def test_a_node_that_comes_while_others_are_told_to_go_is_refused(
    run_hub: Callable, join: Join, client_tls: Callable
) -> None:
    async with run_hub(stop_spread=0.5, authorization="any-trusted") as cloud:
        edges = [await join(cloud, f"edge-{n}", certificate="edge-1") for n in range(60)]
        late = Edge()
        await late.open(cloud.port, client_tls("edge-1"))  # its request has not come yet
        await join(cloud, "edge-98", certificate="edge-1")
        cloud.context.stop()
        await edges[0].closed()
        answer = await late.request("/p/edge-99/events", {"node_id": "edge-99"})
        assert answer.startswith("HTTP/1.1 503 ")
        assert "stopping" in answer
        await late.leave()


async def test_status_details(cloud: Cloud, join: Join) -> None:
    assert cloud.context.details["connected_nodes"] == 0
    assert cloud.context.details["node_limit"] == 1000
    await join(cloud)
    await until(lambda: cloud.context.details["connected_nodes"] == 1)
    newer, other = await join(cloud), await join(cloud, "edge-2")  # one takes over
    await until(lambda: cloud.context.details["connected_nodes"] == 2)
    await newer.leave()
    await other.leave()
    await until(lambda: cloud.context.details["connected_nodes"] == 0)


@pytest.mark.parametrize(
    ("name", "written", "code"),
    [
        ("header and payload in one", lambda: frame(b"".join(parts())), 1002),
        ("length zero", lambda: frame(HEADER + bytes(4)), 1002),
        ("announced as huge", lambda: frame(HEADER + b"\xff" * 4), 1002),
        ("no header", lambda: frame(parts()[1]), 1002),
        ("version", lambda: frame(b"\2" + parts()[0][1:]), 1002),
        ("package type", lambda: frame(parts()[0][:4] + b"\2" + parts()[0][5:]), 1002),
        ("payload with more", lambda: frame(parts()[0]) + frame(parts()[1] + b"!"), 1002),
        ("no protobuf", lambda: frame(HEADER + b"\0\0\0\3") + frame(b"\xff" * 3), 1002),
        ("no router", lambda: frame(HEADER + b"\0\0\0\4") + frame(b"\x0a\2\x10\0"), 1002),
        ("reserved bits", lambda: frame(parts()[0], reserved=4), 1002),
        ("continuation of nothing", lambda: frame(b"x", CONTINUATION), 1002),
        ("two beginnings", lambda: frame(b"x", fin=False) + frame(b"y", fin=False), 1002),
        ("opcode", lambda: frame(b"x", 3), 1002),
        ("long ping", lambda: frame(b"x" * 126, PING), 1002),
        ("fragmented ping", lambda: frame(b"x", PING, fin=False), 1002),
        ("not masked", lambda: b"\x82\x0a" + parts()[0], 1002),
        ("frame too large", lambda: b"\x82\xff" + struct.pack(">Q", 1 << 40) + b"mask", 1009),
        (
            "fragments too large",
            lambda: (
                frame(b"x" * 65000, fin=False) + frame(b"x" * 65000, CONTINUATION, fin=False) * 20
            ),
            1009,
        ),
        ("half of JSON", lambda: frame(b'{"header":{"msg_id":"1"', TEXT), 1002),
        ("JSON of another type", lambda: frame(b'{"header":{"msg_id":1}}', TEXT), 1002),
        ("deep JSON", lambda: frame(b'{"content":' + b"[" * 9000 + b"]" * 9000 + b"}", TEXT), 1002),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_fault_ends_that_session_alone(
    run_hub: Callable, join: Join, name: str, written: Callable[[], bytes], code: int
) -> None:
    async with run_hub(max_message_bytes=1024 * 1024) as cloud:
        today = "JSON" in name
        good, bad = await join(cloud, "edge-1"), await join(cloud, "edge-2", today=today)
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-2", "connected")
        bad.write(written())
        closed_with, reason = await bad.closed()
        assert closed_with == code
        assert reason
        await cloud.expect("edge-2", "disconnected")
        assert cloud.hub.statistics.ended == {"frame": 1}
        for part in parts():
            good.write(frame(part))
        assert (await cloud.next()).resource == "node/edge-1/default/podstatus"


async def test_edges_of_both_generations_are_served_side_by_side(cloud: Cloud, join: Join) -> None:
    other = await join(cloud, "edge-2")
    told = await cloud.expect("edge-2", "connected")
    assert generations.generation_of(told.content) == generations.V1_1
    edge = await join(cloud, today=True)
    await edge.send(Message.build("edged", "resource", "update", "default/podstatus", {"n": 1}))
    told = await cloud.expect("edge-1", "connected")
    assert generations.generation_of(told.content) == generations.V1_23
    got = await cloud.next()
    assert (got.resource, got.content) == ("node/edge-1/default/podstatus", b'{"n":1}')
    await cloud.send("edge-1", "default/pod/p", content={"a": "<"})
    await cloud.send("edge-2", "default/pod/p")
    message = await edge.receive()
    assert (message.resource, message.content) == ("default/pod/p", {"a": "<"})
    assert (await other.receive()).content == b'{"n":1}'


async def test_the_last_message_of_an_edge_of_today_is_empty(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud, silent=True, today=True)
    edge.write(frame(b'{"header":{"msg_id":"1","timestamp":1},"route":{},"content":null}\n', TEXT))
    await cloud.expect("edge-1", "connected")
    sent = Message.build("edged", "resource", "update", "default/podstatus", None)
    await edge.send(sent)
    assert (await cloud.next()).id == sent.id


async def test_json_may_come_in_binary_and_in_fragments(cloud: Cloud, join: Join) -> None:
    """Go's reader takes either; its writer fragments what does not fit its buffer."""
    edge = await join(cloud, silent=True, today=True)
    sent = Message.build("edged", "resource", "update", "default/podstatus", {"n": "x" * 300})
    (data,) = json_form.encode(sent)
    edge.write(frame(data, BINARY))
    edge.write(frame(data[:100], TEXT, fin=False) + frame(data[100:], CONTINUATION))
    await cloud.expect("edge-1", "connected")
    for _ in range(2):
        assert (await cloud.next()).id == sent.id


async def test_what_the_go_reader_takes_is_taken(cloud: Cloud, join: Join) -> None:
    edge = await join(cloud, silent=True)
    header, payload = parts()
    edge.write(frame(b"") + frame(header[:4]) + frame(header[4:], TEXT) + frame(b""))
    edge.write(frame(payload[:20]) + frame(payload[20:], TEXT))
    await cloud.expect("edge-1", "connected")
    assert (await cloud.next()).content == b"{}"
    # A Go client fragments what does not fit its buffer of 4096 bytes.
    edge.write(frame(header, fin=False) + frame(b"", CONTINUATION))
    pieces = [payload[at : at + 7] for at in range(0, len(payload), 7)]
    for number, piece in enumerate(pieces):
        kind = CONTINUATION if number else BINARY
        edge.write(frame(piece, kind, fin=piece is pieces[-1]) + frame(b"", PING))
    assert (await cloud.next()).content == b"{}"


def json_frame(operation: str, content: str = "", junk: bytes = b"") -> bytes:
    """Return a message of today's edges in a frame, with anything in the place of its content."""
    sent = Message.build("edged", "user", operation, "default/podstatus", content)
    return frame(json_form.encode(sent)[0].replace(b'"JUNK"', junk), TEXT)


@settings(
    max_examples=settings().max_examples * 3 // 5,  # each is a connection
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.binary(max_size=40).map(frame),
            st.builds(
                lambda payload, kind, fin: frame(payload, kind, fin=fin),
                st.binary(max_size=20),
                st.integers(0, 15),
                st.booleans(),
            ),
            st.sampled_from([frame(part) for part in parts()]),
            st.sampled_from([json_frame("keepalive"), json_frame("update", "OK")]),
            st.builds(
                lambda operation, junk: json_frame(operation, "JUNK", junk),
                st.sampled_from(["update", "response", "upload", "connected"]),
                st.binary(max_size=40),
            ),
        ),
        max_size=8,
    )
)
async def test_whatever_is_written_the_hub_goes_on(
    cloud: Cloud, join: Join, written: list[bytes]
) -> None:
    bad = await join(cloud, "edge-2", silent=True)
    bad.write(b"".join(written))
    await bad.drain()
    good = await join(cloud, "edge-1", today=True)
    await good.send(Message.build("edged", "meta", "update", "default/podstatus/mark"))
    while (await cloud.next()).resource != "node/edge-1/default/podstatus/mark":
        pass
    await bad.leave()
    await good.leave()

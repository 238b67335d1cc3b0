"""Connections that waste time, memory or log lines are closed; others are not affected."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ipc import Message
from modules.cloudhub.endpoint import websocket
from tests.modules.cloudhub.cloud import PROJECT, Cloud, Join
from tests.modules.cloudhub.edge import CONTINUATION, PING, Edge, frame
from tests.support.waiting import until

TlsOf = Callable[[str], ssl.SSLContext]
PATH = f"/{PROJECT}/edge-9/events"


@asynccontextmanager
async def strangers(cloud: Cloud, count: int, first: bytes = b"") -> AsyncIterator[Sequence[Edge]]:
    """TCP connections that send these bytes and no more."""
    edges = [Edge() for _ in range(count)]
    try:
        for each in edges:
            await each.open(cloud.port, None)
            each.write(first)
        yield edges
    finally:
        for each in edges:
            await each.leave()


async def served(cloud: Cloud, edge: Edge, node: str) -> None:
    """Assert that the edge is connected, and that messages pass both ways."""
    await cloud.send(node, "default/pod/p")
    assert (await edge.receive()).resource == "default/pod/p"
    await edge.send(Message.build("edged", "resource", "update", "default/podstatus"))
    while (await cloud.next()).resource != f"node/{node}/default/podstatus":
        pass


async def test_who_says_nothing_takes_nobodys_place(cloud: Cloud, join: Join) -> None:
    """They wait in the kernel: an edge connects while all of them are open."""
    async with strangers(cloud, 2 * websocket._HANDSHAKES_AT_ONCE):
        edge = await join(cloud)
        await cloud.expect("edge-1", "connected")
        await served(cloud, edge, "edge-1")
        assert not cloud.hub.statistics.refused


async def test_slow_handshakes_make_room_for_others(
    cloud: Cloud, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "_HANDSHAKES_AT_ONCE", 8)
    monkeypatch.setattr(websocket, "_PATIENCE", 0.2)
    async with strangers(cloud, 40, b"\x16\x03\x01") as slow:  # a record that does not go on
        edge = await join(cloud)
        await cloud.expect("edge-1", "connected")
        await served(cloud, edge, "edge-1")
        await slow[0].gone()
    assert set(cloud.hub.statistics.refused) == {"tls"}


async def test_a_handshake_has_its_time(run_hub: Callable, join: Join) -> None:
    async with run_hub(handshake_timeout=0.3) as cloud:
        async with strangers(cloud, 3, b"\x16\x03\x01") as slow:
            for each in slow:
                await each.gone()
        assert cloud.hub.statistics.refused == {"tls": 3}


async def test_handshakes_that_the_end_breaks_off_are_a_line_each(
    run_hub: Callable, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_hub() as cloud:
        async with strangers(cloud, 3, b"\x16\x03\x01") as slow:
            await join(cloud)  # who comes later is in: so they have been accepted
            cloud.context.stop()
            for each in slow:
                await each.gone()
    refused = [each for each in caplog.messages if "refused" in each]
    assert len(refused) == 3
    assert all(each.endswith(" refused: cloudcore is stopping") for each in refused)
    assert cloud.hub.statistics.refused == {"tls": 3}


async def test_one_that_the_end_breaks_off_just_when_it_is_done_is_a_line_too(
    run_hub: Callable, client_tls: TlsOf, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    made = websocket._Connection.connection_made
    async with run_hub() as cloud:

        def made_at_the_end(connection: Any, transport: Any) -> None:
            made(connection, transport)
            cloud.context.stop()

        monkeypatch.setattr(websocket._Connection, "connection_made", made_at_the_end)
        edge = Edge()
        await edge.open(cloud.port, client_tls("edge-1"))
        await edge.gone()
        await edge.leave()
    (refused,) = [each for each in caplog.messages if "refused" in each]
    assert refused.endswith(" refused: cloudcore is stopping")
    assert cloud.hub.statistics.refused == {"tls": 1}


async def test_who_dials_in_a_loop_does_not_fill_the_log(
    run_hub: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_hub() as cloud:
        for number in range(1, 41):
            async with strangers(cloud, 1, b"GET / HTTP/1.1\r\n\r\n") as (plain,):
                await plain.gone()
            await until(lambda: cloud.hub.statistics.refused == {"tls": number})  # noqa: B023
    lines = [each for each in caplog.messages if each.startswith("connection from 127.0.0.1:")]
    assert len(lines) == 10


async def test_what_is_no_tls_is_refused(cloud: Cloud, join: Join) -> None:
    async with strangers(cloud, 1, b"GET /p/edge-1/events HTTP/1.1\r\n\r\n") as plain:
        await plain[0].gone()
    assert cloud.hub.statistics.refused == {"tls": 1}


@pytest.mark.parametrize("said", [b"", b"GET /p/edge-1/events HTTP/1.1\r\nnode_id: ed"])
async def test_a_request_has_its_time(run_hub: Callable, client_tls: TlsOf, said: bytes) -> None:
    async with run_hub(handshake_timeout=1.0) as cloud:
        edge = Edge()
        await edge.open(cloud.port, client_tls("edge-1"))
        edge.write(said)
        await edge.gone()
        await until(lambda: cloud.hub.statistics.refused == {"request": 1})
        await edge.leave()


async def test_a_request_that_drips_has_no_more_time(run_hub: Callable, client_tls: TlsOf) -> None:
    async with run_hub(handshake_timeout=1.0) as cloud:
        edge = Edge()
        await edge.open(cloud.port, client_tls("edge-1"))

        async def drip() -> None:
            while True:
                edge.write(b"GET /"[:1])
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        await edge.gone()
        dripping.cancel()
        await edge.leave()
        await until(lambda: cloud.hub.statistics.refused == {"request": 1})


async def test_a_request_without_end_is_refused(cloud: Cloud, client_tls: TlsOf) -> None:
    edge = Edge()
    await edge.open(cloud.port, client_tls("edge-1"))
    edge.write(b"GET /p/edge-1/events HTTP/1.1\r\n" + b"x: y\r\n" * 100_000)
    await edge.gone()
    await edge.leave()
    await until(lambda: cloud.hub.statistics.refused == {"request": 1})


async def test_a_frame_that_drips_does_not_keep_a_session(run_hub: Callable, join: Join) -> None:
    """Bytes that are no message do not count as a keepalive."""
    async with run_hub(keepalive_interval=0.4) as cloud:
        edge = await join(cloud)
        await cloud.expect("edge-1", "connected")
        whole = frame(b"x" * 10_000)

        async def drip() -> None:
            for at in range(len(whole)):
                edge.write(whole[at : at + 1])
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        code, reason = await edge.closed()
        dripping.cancel()
        assert (code, reason) == (1008, "no keepalive for 0.4 s")


@pytest.mark.parametrize("kind", ["empty", "fragments", "pings"])
async def test_floods_of_frames_without_messages_are_slowed_down(
    run_hub: Callable, join: Join, kind: str
) -> None:
    frames = {
        "empty": frame(b"") * 1000,
        "fragments": frame(b"x", CONTINUATION, fin=False) * 1000,
        "pings": frame(b"", PING) * 1000,
    }
    async with run_hub(rate_limit=100.0, rate_burst=10) as cloud:
        flooding, other = await join(cloud, "edge-1"), await join(cloud, "edge-2")
        await cloud.expect("edge-1", "connected")
        await cloud.expect("edge-2", "connected")
        if kind == "fragments":
            flooding.write(frame(b"x", fin=False))
        flooding.write(frames[kind])
        await until(lambda: cloud.hub.statistics.throttled == 1)
        await served(cloud, other, "edge-2")


async def test_pings_of_who_does_not_read_are_not_answered(cloud: Cloud, join: Join) -> None:
    """Pongs would be queued without a limit."""
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    for number in range(100):
        await cloud.send("edge-1", f"default/configmap/c{number}", content={"d": "x" * 100_000})
    session = cloud.hub.sessions["edge-1"]
    await until(lambda: len(session.queue) > 20)
    before = session._connection._transport.underlying_transport.get_write_buffer_size()
    for _ in range(200):
        edge.write(frame(b"x" * 125, PING))
    await edge.send(Message.build("edged", "resource", "update", "default/podstatus"))
    assert (await cloud.next()).resource == "node/edge-1/default/podstatus"
    assert session._connection._transport.underlying_transport.get_write_buffer_size() <= before


async def test_one_dead_node_among_a_thousand_delays_no_other(
    run_hub: Callable, join: Join, client_tls: TlsOf
) -> None:
    """It neither reads nor sends: its queue fills up, and others are served meanwhile."""
    count = 1000
    async with run_hub(
        authorization="any-trusted",
        queue_messages=300,
        queue_bytes=64 << 20,
        keepalive_interval=600.0,
        write_timeout=600.0,
    ) as cloud:
        await join(cloud, "edge-dead", certificate="edge-1")
        await cloud.expect("edge-dead", "connected")
        names = [f"edge-{number}" for number in range(count - 1)]
        edges = {}
        for start in range(0, count - 1, 100):
            part = names[start : start + 100]
            joined = await asyncio.gather(*(join(cloud, n, certificate="edge-1") for n in part))
            edges.update(zip(part, joined, strict=True))
            for _ in part:
                await cloud.next()
        # More than its socket and its queue hold, in front of what is for everybody else.
        heavy = {"data": "x" * 100_000}
        for number in range(250):
            await cloud.send("edge-dead", f"default/configmap/c{number}", content=heavy)
        session = cloud.hub.sessions["edge-dead"]
        await until(lambda: len(session.queue) > 100)
        for name in names:
            await cloud.send(name, "default/pod/p", "insert")
        for edge in edges.values():
            assert (await edge.receive()).resource == "default/pod/p"
        # All have theirs, and the dead one is still there, with everything that waits for it.
        assert len(session.queue) > 100
        assert not session.over
        assert len(cloud.hub.sessions) == count

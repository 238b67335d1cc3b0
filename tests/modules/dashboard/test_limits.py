"""What clients cannot take: connections, streams, time, memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from modules.dashboard.live import viewers as viewers_module
from modules.dashboard.live.viewers import Viewers
from modules.dashboard.web import login, server, stream
from modules.dashboard.web.guard import COOKIE, TRUSTED
from modules.dashboard.web.stream import Live
from tests.modules.dashboard.visitor import Browser
from tests.support.running import DEADLINE, Running
from tests.support.waiting import eventually, until

#: Bytes that a kernel keeps for a client that does not read: some, whatever is set.
RECEIVE = 4096


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[..., Awaitable[Connection]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Connects, and sends something; closes all that a test has opened."""
    writers: list[asyncio.StreamWriter] = []

    async def dial(port: int, data: bytes = b"") -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(data)
        return reader, writer

    yield dial
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Wait until the server closes a connection, and return what it sent before."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@contextlib.asynccontextmanager
async def served(*routes: web.RouteDef) -> AsyncIterator[int]:
    """Serve routes as the module does, and yield the port."""
    app = web.Application(client_max_size=login.MOST_BYTES)
    app.add_routes(routes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with server.serving(app, listener):
            yield listener.getsockname()[1]


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_there_are_not_more_connections_than_may_be(
    monkeypatch: pytest.MonkeyPatch, dial: Dial
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    async with served(web.get("/", hello)) as port:
        open_ones = [await dial(port, GET) for _ in range(3)]
        for reader, _ in open_ones:
            assert b"200" in await reader.readline()
        reader, _ = await dial(port, GET)
        assert await ended(reader) == b""
        open_ones[1][1].close()
        await open_ones[1][1].wait_closed()

        async def again() -> bool:
            reader, writer = await dial(port, GET)
            answer = await reader.read(12)
            writer.close()
            return answer.startswith(b"HTTP/1.1 200")

        assert await eventually(again, bool)


async def test_a_request_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch, dial: Dial) -> None:
    monkeypatch.setattr(server, "REQUEST_TIMEOUT", 0.5)
    async with served(web.get("/", hello)) as port:
        silent, _ = await dial(port)
        slow, writer = await dial(port, b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await ended(silent) == b""
        assert await ended(slow) == b""
        dripping.cancel()
        quick, _ = await dial(port, GET)
        assert b"200" in await quick.readline()


async def test_a_second_request_has_to_come_in_time(
    monkeypatch: pytest.MonkeyPatch, dial: Dial
) -> None:
    monkeypatch.setattr(server, "_KEEPALIVE", 0.5)
    async with served(web.get("/", hello)) as port:
        found = b""
        while not found:
            with contextlib.suppress(ConnectionError):  # if the time was over before it was read
                reader, writer = await dial(port, GET)
                assert b"200" in await reader.readline()
                writer.write(b"GET / HTTP/1.1\r\nHost: ")
                found = await ended(reader)
        assert b"hello" in found


async def test_an_answer_has_to_be_read_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_TIMEOUT", 1.0)

    asked = asyncio.Event()

    async def much(_: web.Request) -> web.Response:
        asked.set()
        return web.Response(body=bytes(10_000_000))

    async with served(web.get("/much", much), web.get("/", hello)) as port:
        with stalled(port, "/much") as silent:
            await until(asked.is_set)
            await until(lambda: not served_end(silent))


async def test_a_body_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch, dial: Dial) -> None:
    monkeypatch.setattr(login, "_BODY_TIMEOUT", 0.3)

    async def read(request: web.Request) -> web.Response:
        with pytest.raises(login.RequestRefused, match="has not come") as refused:
            await login.body(request, dict)
        return web.Response(status=refused.value.status)

    async with served(web.post("/", read)) as port:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        reader, _ = await dial(port, head + b"Content-Length: 9\r\n\r\n{")
        assert b"408" in await reader.readline()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X-Many: x\r\n" * 500 + b"\r\n",
        b"\x16\x03\x01" + bytes(100),  # TLS
    ],
    ids=["address", "header", "headers", "no HTTP"],
)
async def test_what_is_too_long_or_no_request_is_refused(
    request_: bytes, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(web.get("/{path:.*}", hello)) as port:
        reader, _ = await dial(port, request_)
        answer = await ended(reader)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        assert not caplog.records  # a client cannot fill the log
        quick, _ = await dial(port, GET)
        assert b"200" in await quick.readline()


async def test_a_line_without_end_is_not_kept(dial: Dial) -> None:
    async with served(web.get("/", hello)) as port:
        reader, writer = await dial(port, b"GET /")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 10_000_000 and not reader.at_eof():
                writer.write(b"x" * 10_000)
                await writer.drain()
                sent += 10_000
                await asyncio.sleep(0)
        assert sent < 10_000_000


async def test_a_body_without_length_is_bounded(visitor: Browser, dial: Dial) -> None:
    head = (
        f"POST /api/login HTTP/1.1\r\nHost: {visitor.host}\r\nOrigin: {visitor.origin}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    reader, writer = await dial(int(visitor.host.rpartition(":")[2]), head.encode())

    async def endless() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
                await writer.drain()

    sending = asyncio.create_task(endless())
    try:
        with contextlib.suppress(ConnectionError):  # it may have closed while we send
            async with asyncio.timeout(DEADLINE):
                assert b"413" in await reader.readline()
    finally:
        sending.cancel()
        writer.transport.abort()  # nobody takes what is still to be sent


async def test_there_are_not_more_streams_than_may_be(
    cloudcore: Running, operator: Browser
) -> None:
    jar, connector = operator.http.cookie_jar, aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(operator.origin, cookie_jar=jar, connector=connector) as http:

        async def open_page() -> aiohttp.ClientResponse:
            return await http.get("/api/live?topics=status")

        before = len(connections_to(operator.host))
        pages = [await open_page() for _ in range(viewers_module.MOST)]
        assert {page.status for page in pages} == {200}
        async with await open_page() as refused:
            assert refused.status == 503
            assert "pages are open already" in (await refused.json())["error"]
        assert (await operator.get("/api/session"))[0] == 200
        pages.pop().close()

        async def room() -> bool:
            async with await open_page() as page:
                return page.status == 200

        assert await eventually(room, bool)
        for page in pages:
            page.close()
        # The transports take a while.
        await until(lambda: len(connections_to(operator.host)) <= before)
    assert cloudcore.module("dashboard")["state"] == "ready"


class Anybody:
    """Sessions that never end, a board and logs of which nothing is known yet."""

    def has(self, _: str) -> bool:
        return True

    def snapshot(self, _: str) -> None:
        return None


@contextlib.asynccontextmanager
async def streaming(viewers: Viewers) -> AsyncIterator[int]:
    anybody: Any = Anybody()
    live = Live(anybody, anybody, viewers, anybody)

    async def handler(request: web.Request) -> web.StreamResponse:
        request[TRUSTED], request[COOKIE] = True, ""
        return await live.stream(request)

    async with served(web.get("/live", handler)) as port:
        yield port


def stalled(port: int, path: str = "/live?topics=status") -> socket.socket:
    """Send a request, and read nothing of the answer."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
    reader.connect(("127.0.0.1", port))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    return reader


async def test_who_reads_nothing_is_disconnected_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "_WRITE_TIMEOUT", 0.5)
    viewers = Viewers()
    async with streaming(viewers) as port, aiohttp.ClientSession() as http:
        with stalled(port) as silent:
            async with http.get(f"http://127.0.0.1:{port}/live?topics=status") as other:
                await until(lambda: len(viewers) == 2)
                news = SimpleNamespace(sent=0)

                async def publish() -> None:
                    while True:
                        news.sent += 1
                        viewers.publish("status", {"number": news.sent, "text": "x" * 100_000})
                        await asyncio.sleep(0.02)

                seen = [0]

                async def read() -> None:
                    async for _, document in read_numbers(other):
                        seen.append(document["number"])

                tasks = [asyncio.create_task(each()) for each in (publish, read)]
                await until(lambda: len(viewers) == 1)
                await until(lambda: not served_end(silent))
                after = news.sent
                await until(lambda: seen[-1] > after)
                for task in tasks:
                    task.cancel()


async def read_numbers(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    rest = b""
    async for piece in answer.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield "status", json.loads(line[6:])


def connections_to(host: str) -> list[Any]:
    """Return this process's open connections whose other end is HOST:PORT."""
    port = int(host.rpartition(":")[2])
    mine = psutil.Process().net_connections("tcp")
    return [each for each in mine if each.raddr and each.raddr[1] == port]


def served_end(silent: socket.socket) -> list[Any]:
    """Return the server's end of a connection, if it still has it."""
    return connections_to(f":{silent.getsockname()[1]}")

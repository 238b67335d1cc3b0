# ruff: noqa: F811 - fixtures are named as arguments
"""Clients that are slow, huge, many, or do not speak HTTP cost the others nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from modules.cloudhub.joining import server as joining_server
from modules.cloudhub.joining.enrollment import MAX_REQUEST
from tests.modules.cloudhub.door import NODE, Door, bearer, door, nodes, open_door  # noqa: F401 - fixtures
from tests.modules.cloudhub.joiner import DEADLINE, csr

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(door: Door, *, tls: bool = True) -> AsyncIterator[Streams]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", door.port, ssl=context if tls else None
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_to(door: Door, *parts: bytes) -> bytes:
    """Write a request in parts, and return all of the answer."""
    async with connected(door) as (reader, writer), asyncio.timeout(DEADLINE):
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await reader.read()


def head(door: Door, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    token = bearer(door.joiner())["Authorization"]
    lines += ["Host: x", f"NodeName: {NODE}", f"Authorization: {token}"]
    return "\r\n".join(["GET /edge.crt HTTP/1.1", *lines, "", ""]).encode()


async def test_a_body_in_pieces_and_in_chunks(door: Door) -> None:
    request = csr(NODE)
    answered = await answer_to(
        door, head(door, Content_Length=str(len(request))), request[:9], request[9:]
    )
    assert answered.startswith(b"HTTP/1.1 200 ")
    chunk = f"{len(request):x}\r\n".encode() + request + b"\r\n0\r\n\r\n"
    answered = await answer_to(door, head(door, Transfer_Encoding="chunked"), chunk)
    assert answered.startswith(b"HTTP/1.1 200 ")


async def test_who_waits_for_100_continue_is_told_to(door: Door) -> None:
    request = csr(NODE)
    async with connected(door) as (reader, writer), asyncio.timeout(DEADLINE):
        writer.write(head(door, Content_Length=str(len(request)), Expect="100-continue"))
        assert b"100" in await reader.readline()
        await reader.readline()
        writer.write(request)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("length", [str(MAX_REQUEST + 1), "9" * 5000])
async def test_a_body_that_says_it_is_too_long_is_not_read(door: Door, length: str) -> None:
    answered = await answer_to(door, head(door, Content_Length=length))
    assert answered.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


async def test_a_body_that_turns_out_too_long_is_refused(door: Door) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    parts = [chunk] * (MAX_REQUEST // 0x10000 + 1)
    answered = await answer_to(door, head(door, Transfer_Encoding="chunked"), *parts)
    assert answered.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no host
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20_000,
        b"GET /" + b"x" * 100_000,
    ],
    ids=["binary", "one word", "no host", "two lengths", "headers", "line"],
)
async def test_what_is_not_http_is_answered_so(door: Door, request_: bytes) -> None:
    answered = await answer_to(door, request_)
    assert answered.startswith(b"HTTP/1.1 4")
    await door.joined()


@pytest.mark.parametrize(
    "line", [b"Authorization : Bearer SECRET\r\n", b"Host: x\r\nBearer SECRET\r\n"]
)
async def test_a_malformed_line_is_not_quoted(
    door: Door, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have the token."""
    answered = await answer_to(door, b"GET /edge.crt HTTP/1.1\r\n" + line + b"\r\n")
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert b"illegal header line" in answered
    assert "illegal header line" in caplog.text
    assert "SECRET" not in caplog.text


async def test_a_header_twice_is_refused(door: Door) -> None:
    answered = await answer_to(door, head(door, Nodename="edge-2"))
    assert b"the header NodeName is there 2 times" in answered


async def test_who_does_not_finish_is_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining_server, "_TIMEOUT", 0.3)
    for part in (b"", b"GET /edge.crt HT", head(door, Content_Length="100")):
        async with connected(door) as (reader, writer), asyncio.timeout(DEADLINE):
            writer.write(part)
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                continue


async def test_silent_connections_do_not_keep_an_edge_out(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining_server, "_AT_ONCE", 2)
    monkeypatch.setattr(joining_server, "_PATIENCE", 0.2)
    async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE):
        silent = [await stack.enter_async_context(connected(door)) for _ in range(4)]
        await door.joined()
        # The first of them are cut off long before their time is over.
        for reader, _ in silent[:2]:
            with suppress(ConnectionResetError):
                assert await reader.read() == b""


async def test_who_speaks_no_tls_is_logged_in_words(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(door, tls=False) as (reader, writer), asyncio.timeout(DEADLINE):
        writer.write(b"GET /ca.crt HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            await reader.read()
    assert "it speaks HTTP without TLS" in caplog.text
    await door.joined()

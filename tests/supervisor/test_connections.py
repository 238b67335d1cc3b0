"""Connections of the admin interface in process: silent clients, clients that go, and the limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from supervisor.admin import http
from supervisor.admin.connections import MAX_CONNECTIONS, Connections
from supervisor.admin.http import Answer, Request
from supervisor.admin.server import shows
from supervisor.admin.status import Status, without_traces
from supervisor.admin.streams import Feed

ASK = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
DEADLINE = 20.0

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def respond(request: Request) -> Answer:
    return Answer(f"answered {request.path}")


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Connections]:
    connections = Connections(respond, lambda _: True)
    async with asyncio.timeout(DEADLINE):
        async with await asyncio.start_unix_server(connections.handle, path):
            yield connections
            await connections.close(timeout=0)


@pytest.mark.parametrize(
    "sent", [b"", ASK[:20], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9"]
)
async def test_a_silent_client_is_answered_408_and_is_no_fault_of_the_supervisor(
    tmp_path: Path, sent: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.05)
    async with serving(tmp_path / "s"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(sent)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"no complete request within 0.05 s" in answer
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_silent_clients_keep_nobody_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "s"):
        silent = [
            await asyncio.open_unix_connection(tmp_path / "s") for _ in range(MAX_CONNECTIONS)
        ]
        for _ in range(3):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(ASK)
            assert b"answered /readyz" in await reader.read()
            writer.close()
        assert await silent[0][0].read() == b""  # the oldest had to make room
        silent[-1][1].write(ASK)
        assert b"answered /readyz" in await silent[-1][0].read()
        for _, writer in silent:
            writer.close()


async def test_a_request_that_is_being_answered_is_not_closed_to_make_room(tmp_path: Path) -> None:
    asked, may_answer = asyncio.Semaphore(0), asyncio.Event()

    async def later(request: Request) -> Answer:
        asked.release()
        await may_answer.wait()
        return await respond(request)

    connections = Connections(later, lambda _: True)
    async with asyncio.timeout(DEADLINE):
        async with await asyncio.start_unix_server(connections.handle, tmp_path / "s"):
            busy: list[Pair] = []
            for _ in range(MAX_CONNECTIONS):
                busy.append(await asyncio.open_unix_connection(tmp_path / "s"))
                busy[-1][1].write(ASK)
                await asked.acquire()
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(ASK)
            assert b"503 Too Many Connections" in await reader.read()
            writer.close()
            may_answer.set()
            for reader, writer in busy:
                assert b"answered /readyz" in await reader.read()
                writer.close()
            await connections.close(timeout=0)


async def test_a_client_that_has_gone_is_seen_while_its_request_waits(tmp_path: Path) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> Answer:
        asked.set()
        assert not request.gone()
        while not request.gone():
            await asyncio.sleep(0)
        gone.set()
        return Answer("")

    connections = Connections(wait, lambda _: True)
    async with asyncio.timeout(DEADLINE):
        async with await asyncio.start_unix_server(connections.handle, tmp_path / "s"):
            _, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(ASK)
            await asked.wait()
            writer.close()
            await gone.wait()
            await connections.close(timeout=0)


@pytest.mark.parametrize(
    ("header", "trusted"),
    [
        ("Bearer s3cret", True),
        ("bearer s3cret", True),
        ("BEARER  s3cret ", True),
        ("s3cret", False),
        ("Basic s3cret", False),
        ("Bearer s3cre", False),
        ("Bearer s3cret s3cret", False),
        ("Bearer", False),
        ("", False),
    ],
)
def test_a_token_is_shown_with_its_scheme_in_any_case(header: str, trusted: bool) -> None:
    assert shows("s3cret", header) is trusted
    assert shows("", header) is False


async def test_a_feed_ends_at_the_piece_that_is_too_much() -> None:
    feed = Feed()
    kept = b"x" * (1 << 20)
    for piece in (kept, b"y", b"z"):
        feed.offer(piece)
    assert [piece async for piece in feed.pieces()] == [kept]
    within = Feed()
    within.offer(kept[:-1])
    within.offer(b"y")
    within.end()
    assert [piece async for piece in within.pieces()] == [kept[:-1], b"y"]


def test_who_may_not_read_logs_is_not_told_directories_and_settings() -> None:
    told = Status("1", 2, "", "/secret", "/c.toml", ["a=1"], 0.0, "running", modules=[], tables=[])
    less = without_traces(told)
    assert (less.data_dir, less.config, less.sets) == ("", None, [])

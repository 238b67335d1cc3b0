"""Browsers' requests to a dashboard over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from modules.dashboard.access.links import LoginLinks
from tests.support.running import DEADLINE, Running


class Browser:
    """What one browser sends: with its cookies, and the headers that browsers set."""

    def __init__(self, running: Running) -> None:
        self.running = running
        listening = running.module("dashboard")["details"]["listen"]
        self.host = str(listening["http"])
        self.origin = f"http://{self.host}"
        self.csrf = ""
        jar = aiohttp.CookieJar(unsafe=True)  # as a browser, it keeps those of an address
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        self.http = aiohttp.ClientSession(self.origin, cookie_jar=jar, timeout=timeout)

    async def log_in(self) -> None:
        code = LoginLinks(self.running.base / "run").create()
        status, answer = await self.post("/api/login", {"code": code})
        assert status == 200, answer
        _, session = await self.get("/api/session")
        assert session["trusted"]
        self.csrf = session["csrf"]

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.http.get(path, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type.endswith("json") else text

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send what the page's script sends, but for the headers given here."""
        given = {"Origin": self.origin, "X-CSRF-Token": self.csrf} | headers
        sent = {name: value for name, value in given.items() if value}
        async with self.http.post(path, json=body or {}, headers=sent) as answer:
            return answer.status, await answer.json()

    @asynccontextmanager
    async def live(self, topics: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        """Open the stream, and iterate over its events."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=DEADLINE)
        async with self.http.get(f"/api/live?topics={topics}", timeout=timeout) as answer:
            assert answer.status == 200, await answer.text()
            yield _events(answer)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    topic = ""
    while line := await answer.content.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            topic = value
        elif name == "data":
            yield topic, json.loads(value)


async def expect(
    events: AsyncIterator[tuple[str, Any]], topic: str, condition: Any = lambda _: True
) -> Any:
    """Wait for an event of a topic for which a condition holds, and return its document."""
    async with asyncio.timeout(DEADLINE):
        async for name, document in events:
            if name == topic and condition(document):
                return document
    raise AssertionError(f"the stream ended before {topic}")

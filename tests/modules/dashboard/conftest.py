"""A cloudcore with a dashboard, and browsers' requests to it over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modules.dashboard.access.links import LoginLinks
from tests.support import zygote
from tests.support.running import DEADLINE, Running

# The process that is forked imports it once, and not each supervisor that it becomes.
zygote.preload("modules.dashboard.main")

#: The token of the admin interface in these tests.
TOKEN = "a-token-of-tests"

#: Seconds for importing what all modules need, on a busy machine.
IMPORTS = 90.0


def begin(base: Path, *modules: str, sets: tuple[str, ...] = ()) -> Running:
    """Start a cloudcore with a dashboard and other modules of the testbed."""
    token = base / "token"
    token.write_text(TOKEN)
    names = ",".join(("dashboard", *modules))
    running = Running(
        base,
        names,
        sets=("modules.dashboard.port=0", f"admin.token_file={token}", *sets),
    )
    running.wait_for("starting module", IMPORTS)
    running.ready("dashboard", *modules)
    return running


@pytest.fixture(scope="module")
def cloudcore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for the tests of a file that leave it as it is."""
    with begin(tmp_path_factory.mktemp("dashboard"), "good") as running:
        yield running


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


@pytest.fixture
async def visitor(cloudcore: Running) -> AsyncIterator[Browser]:
    """A browser that has not logged in."""
    browser = Browser(cloudcore)
    async with browser.http:
        yield browser


@pytest.fixture
async def operator(cloudcore: Running) -> AsyncIterator[Browser]:
    """A browser that has logged in."""
    browser = Browser(cloudcore)
    async with browser.http:
        await browser.log_in()
        yield browser


async def expect(
    events: AsyncIterator[tuple[str, Any]], topic: str, condition: Any = lambda _: True
) -> Any:
    """Wait for an event of a topic for which a condition holds, and return its document."""
    async with asyncio.timeout(DEADLINE):
        async for name, document in events:
            if name == topic and condition(document):
                return document
    raise AssertionError(f"the stream ended before {topic}")

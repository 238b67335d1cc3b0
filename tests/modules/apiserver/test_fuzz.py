"""Whatever is asked of the API server, it is no fault of the server, and the next one starts."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import sys
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from modules.common.pki.certificates import Pki
from tests.modules.apiserver.api import tls
from tests.modules.apiserver.fuzzing import CRDS, Generator, Request, below
from tests.support.pki import copy_pki

# With Hypothesis' profiles: 1 in a normal run, 2 in each round of `make fuzz`.
EXAMPLES = max(1, settings.get_profile(settings.get_current_profile_name()).max_examples // 500)
LIVES = 2
REQUESTS = 300
# Larger objects are not worth the time that changing them here takes.
LARGE = 5_000
# Deliberate: told to come again, a resourceVersion of the future, no room.
NO_FAULTS = (503, 504, 507)
PROGRAM = textwrap.dedent(
    """
    import asyncio, pathlib, socket, sys, uvloop
    from modules.apiserver.http.server import Server

    async def main():
        server = Server(pathlib.Path(sys.argv[1]))
        await server.start(socket.socket(fileno=int(sys.argv[2])))
        print("ready", server.aside, flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())
    """
)


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """Run a server in a process of its own, which is killed in the end."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listening,
        (data_dir / "log").open("ab") as errors,
    ):
        listening.setblocking(False)
        listening.set_inheritable(True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(data_dir), str(listening.fileno()),
            stdout=asyncio.subprocess.PIPE, stderr=errors,
            pass_fds=[listening.fileno()],
        )  # fmt: skip
        try:
            assert process.stdout is not None
            async with asyncio.timeout(30):
                assert await process.stdout.readline() == b"ready []\n", log(data_dir)
            url = f"https://127.0.0.1:{listening.getsockname()[1]}"
            connector = aiohttp.TCPConnector(ssl=tls(Pki(data_dir / "pki")))
            async with aiohttp.ClientSession(connector=connector) as session:
                yield url, session
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def log(data_dir: Path) -> str:
    return (data_dir / "log").read_text()[-5000:]


class Fuzz:
    """One history of requests and restarts, and what has to be there."""

    def __init__(self, data_dir: Path, seed: int) -> None:
        self.data_dir = data_dir
        self.requests = Generator(seed)
        self.codes: Counter[int] = Counter()
        self.waits: list[float] = []

    async def run(self) -> None:
        for _ in range(LIVES):
            async with serving(self.data_dir) as (url, session):
                await self.check(url, session)
                waiting = asyncio.create_task(self.measure(url, session))
                try:
                    for _ in range(REQUESTS):
                        await self.ask(url, session, self.requests.next())
                finally:
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
                await self.look_up(url, session)
        async with serving(self.data_dir) as (url, session):
            await self.check(url, session)

    async def ask(self, url: str, session: aiohttp.ClientSession, request: Request) -> None:
        body = None if request.body is None else io.BytesIO(request.body)
        target = URL(url + request.url, encoded=True)
        async with (
            asyncio.timeout(20),
            session.request(request.method, target, data=body, headers=request.headers) as response,
        ):
            self.codes[response.status] += 1
            text = await response.read()
            assert response.status < 500 or response.status in NO_FAULTS, (
                request, text, log(self.data_dir),
            )  # fmt: skip
            if response.ok and response.content_type == "application/json" and text:
                self.note(request, json.loads(text), len(text))

    def note(self, request: Request, answer: Any, size: int) -> None:
        """Remember what was accepted."""
        path = request.url.partition("?")[0]
        known = self.requests.known
        self.requests.token = answer.get("metadata", {}).get("continue", self.requests.token)
        if request.method in ("GET", "HEAD", "OPTIONS") or "dryRun=All" in request.url:
            return
        for suffix in ("/status", "/approval", "/binding"):
            path = path.removesuffix(suffix)
        if request.method == "POST" and "/binding" not in request.url:
            path += "/" + str(answer.get("metadata", {}).get("name"))
        if path.startswith(CRDS):
            for other in list(below(path, known)):
                del known[other]
        # What it has come to is looked up in the end: not all answers are objects.
        known[path] = answer if "uid" in answer.get("metadata", {}) and size < LARGE else {}

    async def look_up(self, url: str, session: aiohttp.ClientSession) -> None:
        for path in list(self.requests.known):
            async with session.get(URL(url + path, encoded=True)) as response:
                answer = await response.json() if response.content_length < LARGE else {}
                if "uid" in answer.get("metadata", {}):
                    self.requests.known[path] = answer
                else:
                    del self.requests.known[path]

    async def check(self, url: str, session: aiohttp.ClientSession) -> None:
        """Compare with what was there at the end of the last life, as far as it was looked up."""
        for path, obj in self.requests.known.items():
            async with session.get(URL(url + path, encoded=True)) as response:
                found = await response.json()
                assert found == obj, f"{path} was {obj} and is {found}"

    async def measure(self, url: str, session: aiohttp.ClientSession) -> None:
        while True:
            started = time.perf_counter()
            async with session.get(f"{url}/readyz") as response:
                assert response.status == 200
            self.waits.append(time.perf_counter() - started)
            await asyncio.sleep(0.01)


@pytest.mark.timeout(300)
@settings(
    max_examples=EXAMPLES,
    phases=(Phase.explicit, Phase.generate),
)
@given(seed=st.integers(0, 2**64 - 1))
def test_it_is_never_the_servers_fault_and_the_next_one_starts(
    tmp_path_factory: pytest.TempPathFactory, pki: Pki, seed: int
) -> None:
    data_dir = tmp_path_factory.mktemp("fuzz")
    copy_pki(pki, data_dir)
    fuzz = Fuzz(data_dir, seed)
    asyncio.run(fuzz.run())
    waits = sorted(fuzz.waits)
    print(
        f"seed {seed}: {sum(fuzz.codes.values())} requests, {dict(sorted(fuzz.codes.items()))}; "
        f"/readyz median {waits[len(waits) // 2] * 1000:.1f} ms, "
        f"99% {waits[len(waits) * 99 // 100] * 1000:.1f} ms, longest {waits[-1] * 1000:.1f} ms"
    )
    # Most of it has to be near enough to something to get past the first look.
    assert fuzz.codes[200] + fuzz.codes[201] > sum(fuzz.codes.values()) / 5

"""The time that one request blocks the event loop of the embedded API server.

    python -m bench.apiserver_holds

For each request: its duration, the longest blocking of the server's event loop (CPU time of the
loop's thread, so that other processes do not count), and the slowest answer of /readyz meanwhile
(wall clock).
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from modules.apiserver.http.server import Server
from modules.common.pki.certificates import Pki
from tests.modules.apiserver.api import tls
from tests.modules.apiserver.samples import pod

PODS, IN_TEAM, IN_DEFAULT, ITEMS = 10_000, 9_000, 2_000, 6_000
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
TICK = 0.001


async def serve(data_dir: Path) -> None:
    """Serve, and answer each line on stdin with the longest blocking since the last one, in ms."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        listening.setblocking(False)
        server = Server(data_dir)
        _fill(server)
        gc.freeze()  # as the module does
        await server.start(listening)
        loop = asyncio.get_running_loop()
        longest, before = 0.0, time.thread_time()

        def tick() -> None:
            nonlocal longest, before
            now = time.thread_time()
            longest, before = max(longest, now - before), now
            loop.call_later(TICK, tick)

        ended = asyncio.Event()

        def asked() -> None:
            nonlocal longest
            if not sys.stdin.readline():
                loop.remove_reader(sys.stdin)
                ended.set()
            print(longest * 1e3, flush=True)
            longest = 0.0

        tick()
        loop.add_reader(sys.stdin, asked)
        print(server.url, flush=True)
        await ended.wait()
        await server.stop()


def _fill(server: Server) -> None:
    find, create = server.registry.catalog.find, server.registry.create
    create(find("", "v1", "namespaces"), "", {"metadata": {"name": "team"}})
    for index in range(PODS):
        create(find("", "v1", "pods"), "default", pod(f"p{index}", node=f"n{index % 100}"))
    for namespace, number in (("team", IN_TEAM), ("default", IN_DEFAULT)):
        for index in range(number):
            made = {"metadata": {"name": f"c{index}"}, "data": {"k": "v" * 200}}
            create(find("", "v1", "configmaps"), namespace, made)
    env = [{"name": f"e{index}", "value": "v"} for index in range(ITEMS)]
    many = pod("many")
    many["spec"]["containers"][0]["env"] = env
    create(find("", "v1", "pods"), "kube-system", many)


@asynccontextmanager
async def server_process(data_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.apiserver_holds", str(data_dir)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        async with server_process(Path(name)) as process:
            url = (await _line(process)).strip()
            connector = aiohttp.TCPConnector(ssl=tls(Pki(Path(name) / "pki")))
            async with aiohttp.ClientSession(url, connector=connector) as session:
                print(f"{'request':48} {'took':>9} {'held':>9} {'readyz':>9}   (ms)")
                for title, request in _requests(session):
                    await _measure(process, session, title, request)


async def _measure(
    process: asyncio.subprocess.Process,
    session: aiohttp.ClientSession,
    title: str,
    request: Callable[[], Awaitable[object]],
) -> None:
    await _held(process)
    slowest = 0.0
    began = time.perf_counter()
    task = asyncio.ensure_future(request())
    while not task.done():
        asked = time.perf_counter()
        async with session.get("/readyz") as response:
            await response.read()
        slowest = max(slowest, time.perf_counter() - asked)
        await asyncio.sleep(0.002)
    await task
    took = time.perf_counter() - began
    held = await _held(process)
    print(f"{title:48} {took * 1e3:9.1f} {held:9.1f} {slowest * 1e3:9.1f}")


async def _held(process: asyncio.subprocess.Process) -> float:
    assert process.stdin
    process.stdin.write(b"\n")
    return float(await _line(process))


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    async with asyncio.timeout(120):
        return (await process.stdout.readline()).decode()


def _requests(
    session: aiohttp.ClientSession,
) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    async def call(method: str, path: str, **options: Any) -> None:
        async with session.request(method, path, **options) as response:
            await response.read()
            assert response.ok, response.status

    async def watch(path: str, **options: Any) -> None:
        async with session.get(f"{path}watch=1&timeoutSeconds=1", **options) as response:
            await response.read()

    async def delete_team() -> None:
        await call("DELETE", "/api/v1/namespaces/team")
        while (await session.get("/api/v1/namespaces/team")).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    order = [{"name": f"e{index}"} for index in range(ITEMS)]
    patch = {"spec": {"containers": [{"name": "c", "$setElementOrder/env": order}]}}
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    large = {"metadata": {"name": "large"}, "data": {f"k{n}": "v" * 500 for n in range(1800)}}
    pods = "/api/v1/pods"
    configmaps = "/api/v1/namespaces/default/configmaps"
    return [
        ("nothing", lambda: asyncio.sleep(0.2)),
        (f"list of {PODS} pods", lambda: call("GET", pods)),
        ("  as a Table", lambda: call("GET", pods, headers=TABLE)),
        ("  that selects none", lambda: call("GET", f"{pods}?labelSelector=no%3Dbody")),
        ("  in pages of 500", lambda: call("GET", f"{pods}?limit=500")),
        ("watch from the start, 1 s", lambda: watch(f"{pods}?")),
        ("  as Tables", lambda: watch(f"{pods}?", headers=TABLE)),
        (
            f"strategic patch that orders {ITEMS} items",
            lambda: call(
                "PATCH",
                "/api/v1/namespaces/kube-system/pods/many",
                data=json.dumps(patch),
                headers=strategic,
            ),
        ),
        ("create of 0.9 MB", lambda: call("POST", configmaps, json=large)),
        (f"deletion of {IN_DEFAULT} configmaps", lambda: call("DELETE", configmaps)),
        (f"deletion of a namespace of {IN_TEAM} objects", delete_team),
    ]


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])) if len(sys.argv) > 1 else main())

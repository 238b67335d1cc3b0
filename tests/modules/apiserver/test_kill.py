"""SIGKILL at any time loses no write that was acknowledged."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
import textwrap
from pathlib import Path

import aiohttp

from modules.apiserver.catalog import Catalog
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.registry.bootstrap import open_cluster
from modules.apiserver.storage.store import Store
from modules.common.pki.certificates import Pki
from tests.modules.apiserver.api import tls
from tests.support.pki import copy_pki
from tests.support.waiting import DEADLINE

KILLS = 3
WRITERS = 8
PROGRAM = textwrap.dedent(
    """
    import asyncio, pathlib, socket, sys
    from modules.apiserver.http.server import Server

    async def main():
        server = Server(pathlib.Path(sys.argv[1]))
        await server.start(socket.socket(fileno=int(sys.argv[2])))
        print("ready", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
    """
)


async def write_until_killed(
    session: aiohttp.ClientSession, url: str, name: str, begun: asyncio.Event
) -> int:
    """Count upwards in a ConfigMap; return the last number that was acknowledged."""
    path = f"{url}/api/v1/namespaces/default/configmaps"
    acknowledged = -1
    try:
        async with session.post(path, json={"metadata": {"name": name}}) as response:
            assert response.status in (201, 409)
        for number in range(1_000_000):
            headers = {"Content-Type": "application/merge-patch+json"}
            patch = f'{{"data":{{"n":"{number}","padding":"{"x" * (number % 3000)}"}}}}'
            async with session.patch(f"{path}/{name}", data=patch, headers=headers) as response:
                assert response.status == 200
                await response.read()
            acknowledged = number
            if number:
                begun.set()
    except aiohttp.ClientError:
        pass
    return acknowledged


async def test_no_acknowledged_write_is_lost(tmp_path: Path, pki: Pki) -> None:
    copy_pki(pki, tmp_path)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        listening.setblocking(False)
        listening.set_inheritable(True)
        for round_ in range(KILLS):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, str(tmp_path), str(listening.fileno()),
                stdout=asyncio.subprocess.PIPE, pass_fds=[listening.fileno()],
            )  # fmt: skip
            try:
                assert process.stdout is not None
                async with asyncio.timeout(20):
                    assert await process.stdout.readline() == b"ready\n"
                acknowledged = await kill_while_writing(tmp_path, listening, process, round_)
            except BaseException:
                process.kill()  # only then: killing what is dead already races with its reaping
                raise
            finally:
                await process.wait()
            assert process.returncode == -signal.SIGKILL
            check(tmp_path, acknowledged)


async def kill_while_writing(
    data_dir: Path, listening: socket.socket, process: asyncio.subprocess.Process, round_: int
) -> dict[str, int]:
    url = f"https://127.0.0.1:{listening.getsockname()[1]}"
    context = tls(Pki(data_dir / "pki"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        names = [f"c{round_}-{number}" for number in range(WRITERS)]
        begun = asyncio.Event()
        writers = [
            asyncio.create_task(write_until_killed(session, url, name, begun)) for name in names
        ]
        async with asyncio.timeout(DEADLINE):
            await begun.wait()
        await asyncio.sleep(random.random() / 2)
        process.kill()
        async with asyncio.timeout(DEADLINE):
            return dict(zip(names, await asyncio.gather(*writers), strict=True))


def check(data_dir: Path, acknowledged: dict[str, int]) -> None:
    store = Store(data_dir / "apiserver.db")
    registry = open_cluster(store, Catalog(BUILTIN), "CA")
    configmaps = registry.catalog.find("", "v1", "configmaps")
    assert max(acknowledged.values()) > 0
    for name, number in acknowledged.items():
        data = registry.get(configmaps, "default", name).decode()["data"]
        assert int(data["n"]) >= number
    store.close()


def test_watches_go_on_after_a_restart(tmp_path: Path) -> None:
    """What has not changed meanwhile needs no new list, though history is in memory."""
    store = Store(tmp_path / "apiserver.db")
    registry = open_cluster(store, Catalog(BUILTIN), "CA")
    configmaps = registry.catalog.find("", "v1", "configmaps")
    seen = registry.create(configmaps, "default", {"metadata": {"name": "a"}}).revision
    nodes = registry.catalog.find("", "v1", "nodes")
    registry.create(nodes, "", {"metadata": {"name": "n"}})
    store.close()

    store = Store(tmp_path / "apiserver.db")
    registry = open_cluster(store, Catalog(BUILTIN), "CA")
    assert store.collection("configmaps").history.position_after(seen) == 0
    assert store.collection("nodes").history.position_after(seen) is None
    store.close()

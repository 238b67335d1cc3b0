"""`cloudcore nodes`, and the socket that it queries."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipc import open_contexts
from modules.cloudhub import cli
from modules.cloudhub.cli import nodes as command
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.module import CloudHub
from modules.cloudhub.nodes import NodesServer, socket_of
from modules.cloudhub.session.session import Session
from modules.common.pki.certificates import Pki
from supervisor import client
from supervisor.api import Settings
from supervisor.cli.views import read, sample, views_of
from tests.modules.cloudhub.cloud import Cloud, HubContext, Join
from tests.support.waiting import DEADLINE, until


@asynccontextmanager
async def serving(cloud: Cloud, run_dir: Path, unit: str = "cloudhub") -> AsyncIterator[None]:
    async with NodesServer(socket_of(run_dir, unit), unit, cloud.hub.sessions):
        yield


async def run(*arguments: str) -> tuple[int, str]:
    """Run the command with its output in a pipe; in a thread, since the hub is in this process."""
    runner = CliRunner(env={"COLUMNS": None})
    done = await asyncio.to_thread(runner.invoke, command, arguments)
    return done.exit_code, done.output


async def shown(run_dir: Path, *names: str) -> list[dict[str, Any]]:
    status, output = await run("--run-dir", str(run_dir), "-o", "json", *names)
    assert status == 0, output
    found: list[dict[str, Any]] = json.loads(output)
    return found


async def test_all_that_is_known_of_a_node(cloud: Cloud, join: Join, tmp_path: Path) -> None:
    before = time.time()
    edge = await join(cloud)
    await cloud.expect("edge-1", "connected")
    for number in range(3):
        await cloud.send("edge-1", f"default/pod/p{number}", "insert")
        await edge.receive()
    async with serving(cloud, tmp_path):
        assert stat.S_IMODE(socket_of(tmp_path, "cloudhub").stat().st_mode) == 0o600
        (row,) = await shown(tmp_path)
        status, table = await run("--run-dir", str(tmp_path))
    local = edge.local_address()
    assert row["node"] == "edge-1"
    assert row["address"] == local
    assert row["certificate"]["common_name"] == "system:node:edge-1"
    assert row["certificate"]["expires"].endswith("Z")
    assert (row["protocol"], row["messages_in"], row["messages_out"]) == ("packed", 1, 3)
    assert (row["queue_messages"], row["queue_bytes"]) == (0, 0)
    assert row["process"] == "cloudhub"
    for moment in (row["since"], row["keepalive"]):
        seconds = time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        assert before - 2 < seconds < time.time() + 1
    assert status == 0
    heading, line = table.strip().splitlines()
    assert heading.split()[:4] == ["NODE", "CONNECTED", "ADDRESS", "CERTIFICATE"]
    assert line.split()[0] == "edge-1"
    assert line.split()[2:4] == [local, "system:node:edge-1"]


async def test_what_waits_for_a_slow_node(cloud: Cloud, join: Join, tmp_path: Path) -> None:
    await join(cloud)
    await cloud.expect("edge-1", "connected")
    for number in range(100):
        await cloud.send("edge-1", f"default/configmap/c{number}", content={"d": "x" * 100_000})
    session = cloud.hub.sessions["edge-1"]
    await until(lambda: len(session.queue) > 10)
    async with serving(cloud, tmp_path):
        (row,) = await shown(tmp_path)
        assert row["queue_messages"] == len(session.queue)
        assert row["queue_bytes"] == session.queue.bytes


async def test_several_processes_are_one_table(
    run_hubs: Callable, join: Join, tmp_path: Path
) -> None:
    async with run_hubs(2) as (first, second):
        await join(second, "edge-1")
        await join(first, "edge-2")
        await join(second, "edge-3")
        await until(lambda: len(second.hub.sessions) == 2 and len(first.hub.sessions) == 1)
        async with serving(first, tmp_path), serving(second, tmp_path, "cloudhub-2"):
            rows = await shown(tmp_path)
            assert [(row["node"], row["process"]) for row in rows] == [
                ("edge-1", "cloudhub-2"),
                ("edge-2", "cloudhub"),
                ("edge-3", "cloudhub-2"),
            ]
            assert [row["node"] for row in await shown(tmp_path, "edge-3", "edge-9")] == ["edge-3"]
        # One that is just being restarted has nothing to tell, and the others do.
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(socket_of(tmp_path, "cloudhub-2")))
        dead.close()
        async with serving(first, tmp_path):
            assert [row["node"] for row in await shown(tmp_path)] == ["edge-2"]


async def test_ten_thousand_nodes(
    cloud: Cloud, join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is written in parts, and the hub serves edges in between."""
    await join(cloud)
    await cloud.expect("edge-1", "connected")
    session = cloud.hub.sessions["edge-1"]
    many = dict.fromkeys((f"edge-{number}" for number in range(10_000)), session)
    served = NodesServer(socket_of(tmp_path, "cloudhub"), "cloudhub", many)
    turns = 0
    made_in = set()
    row = served._row

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def noted_row(session: Session) -> dict[str, Any]:
        made_in.add(turns)
        return row(session)

    monkeypatch.setattr(served, "_row", noted_row)
    async with served:
        counting = asyncio.create_task(count_turns())
        rows = await shown(tmp_path)
        counting.cancel()
    assert len(rows) == 10_000
    assert len(made_in) >= 50  # 200 rows at a time


async def test_nobody_is_connected_or_nothing_runs(cloud: Cloud, tmp_path: Path) -> None:
    async with serving(cloud, tmp_path):
        status, output = await run("--run-dir", str(tmp_path))
        assert (status, output) == (0, "no node is connected\n")
    status, output = await run("--run-dir", str(tmp_path))
    assert status == 3
    assert "cloudcore is not running" in output


async def test_while_cloudhub_does_not_run_cloudcore_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"name": "cloudhub", "state": "disabled", "reason": "disabled by somebody"}
    monkeypatch.setattr(client, "request", lambda *_, **__: {"modules": [module]})
    status, output = await run("--run-dir", str(tmp_path))
    assert (status, output) == (3, "cloudhub is disabled (disabled by somebody)\n")


async def test_each_asked_node_that_is_not_connected_is_named(
    cloud: Cloud, join: Join, tmp_path: Path
) -> None:
    await join(cloud)
    await cloud.expect("edge-1", "connected")
    async with serving(cloud, tmp_path):
        status, output = await run("edge-1", "edge-2", "--run-dir", str(tmp_path))
    assert status == 0
    assert "edge-1  " in output
    assert output.endswith("node edge-2 is not connected\n")


async def test_anything_else_is_answered_so(cloud: Cloud, tmp_path: Path) -> None:
    async with serving(cloud, tmp_path):
        for asked, status in (
            (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
            (b"POST /nodes HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"404"),
            (b"nonsense\r\n\r\n", b"400"),
        ):
            reader, writer = await asyncio.open_unix_connection(socket_of(tmp_path, "cloudhub"))
            writer.write(asked)
            assert (await asyncio.wait_for(reader.read(), DEADLINE)).split()[1] == status
            writer.close()
            await writer.wait_closed()


async def test_the_module_opens_its_sockets_and_removes_them(
    pki: Pki, tmp_path: Path, client_tls: Callable[[str], ssl.SSLContext]
) -> None:
    csi = tmp_path / "csi.sock"
    settings = Settings(data_dir=pki.directory.parent, run_dir=tmp_path)
    module = CloudHub(CloudHubConfig(uds_address=f"unix://{csi}"), settings)
    contexts = open_contexts({"cloudhub": "cloudhub"})
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        context.sockets = {"websocket": listener}  # type: ignore[attr-defined]
        running = asyncio.create_task(module.start(context))  # type: ignore[arg-type]
        await asyncio.wait_for(context.is_ready.wait(), 20)
        assert csi.exists()
        assert (await run("--run-dir", str(tmp_path)))[0] == 0
        module.cleanup()  # of another process that was killed: this one lives
        assert socket_of(tmp_path, "cloudhub").exists()
        context.stop()
        await asyncio.wait_for(running, DEADLINE)
    assert list(tmp_path.iterdir()) == []
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(socket_of(tmp_path, "cloudhub-2")))
    module.cleanup()
    assert list(tmp_path.iterdir()) == []
    context.close()


async def test_cloudcore_top_has_a_view_of_the_edges_of_all_processes(
    run_hubs: Callable, join: Join, tmp_path: Path
) -> None:
    (table,) = CloudHub.tables(CloudHubConfig(processes=2))
    *_, view = views_of({"tables": [asdict(table)]})
    async with run_hubs(2) as (first, second):
        await join(first, "edge-1")
        await join(second, "edge-2")
        await until(lambda: len(second.hub.sessions) == 1 == len(first.hub.sessions))
        async with serving(first, tmp_path), serving(second, tmp_path, "cloudhub-2"):
            rows = await asyncio.to_thread(read, view, {}, tmp_path)
    seen = sample(view, rows, rows, 1.0)
    assert view.name == "edges"
    assert sorted(row["NODE"] for row in seen) == ["edge-1", "edge-2"]
    # A protocol is known from the first message on; all else that the columns name is there.
    values = {title: value for title, value in seen[0].items() if title != "PROTOCOL"}
    assert None not in values.values()


def test_the_table_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "node": "edge-with-a-long-name.example",
        "since": 1.0,
        "address": "192.168.100.100:57312",
        "certificate": {"common_name": "system:node:edge", "expires": 2e9},
        "protocol": "packed",
        "messages_in": 123456,
        "messages_out": 123456,
        "queue_messages": 1000,
        "queue_bytes": 1000000,
        "keepalive": 1.0,
    }
    assert max(map(len, cli._table([row]).splitlines())) <= 80

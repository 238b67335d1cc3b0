from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modules.apiserver import ApiServer
from modules.apiserver.http.server import Server
from modules.apiserver.storage.store import Store
from supervisor.api import CannotStart, KubernetesSettings, Listener, Settings
from tests.support.waiting import DEADLINE


class Context:
    """As much of a module's context as the API server uses."""

    def __init__(self, listening: socket.socket) -> None:
        self.sockets = {"https": listening}
        self.details: dict[str, Any] = {}
        self.is_ready = asyncio.Event()
        self.stop = asyncio.Event()

    def ready(self) -> None:
        self.is_ready.set()

    def report(self, **details: Any) -> None:
        self.details |= details

    async def stopped(self) -> None:
        await self.stop.wait()


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield Context(listening)


def module(data_dir: Path, **config: Any) -> ApiServer:
    settings = Settings(data_dir=data_dir, run_dir=data_dir)
    return ApiServer(ApiServer.Config(**config), settings)


async def test_it_runs_until_it_is_asked_to_stop(tmp_path: Path, context: Context) -> None:
    task = asyncio.create_task(module(tmp_path).start(context))  # type: ignore[arg-type]
    async with asyncio.timeout(DEADLINE):
        await context.is_ready.wait()
        port = context.sockets["https"].getsockname()[1]
        assert context.details["url"] == f"https://127.0.0.1:{port}"
        assert context.details["objects"] > 0
        assert f"https://127.0.0.1:{port}" in (tmp_path / "kubeconfig").read_text()
        assert not task.done()
        context.stop.set()
        await task


async def test_a_damaged_store_cannot_start(tmp_path: Path, context: Context) -> None:
    (tmp_path / "apiserver.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(CannotStart, match=r"apiserver\.db"):
        await module(tmp_path).start(context)  # type: ignore[arg-type]


async def test_what_it_cannot_use_is_in_its_report(tmp_path: Path, context: Context) -> None:
    store = Store(tmp_path / "apiserver.db")
    store.close()
    database = sqlite3.connect(tmp_path / "apiserver.db")
    with database:
        database.execute("INSERT INTO objects VALUES ('nodes', '', 'n', 1, x'5b')")
    database.close()
    task = asyncio.create_task(module(tmp_path).start(context))  # type: ignore[arg-type]
    async with asyncio.timeout(DEADLINE):
        await context.is_ready.wait()
        (line,) = context.details["aside"]
        assert line.startswith("nodes n: it is not JSON")
        context.stop.set()
        await task


async def test_a_fault_in_the_background_ends_it(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Server) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Server, "_keep_up", broken)
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(DEADLINE):
            await module(tmp_path).start(context)  # type: ignore[arg-type]


def test_configuration() -> None:
    config = ApiServer.Config()
    listeners = ApiServer.listeners(config, Settings(Path(), Path()))
    assert listeners == {"https": Listener("127.0.0.1", 6443)}
    for wrong in ({"port": 70000}, {"port": "6443"}, {"prot": 1}):
        with pytest.raises(ValidationError):
            ApiServer.Config(**wrong)


def test_it_is_not_needed_with_a_cluster(tmp_path: Path) -> None:
    alone = Settings(data_dir=tmp_path, run_dir=tmp_path)
    assert ApiServer.not_needed(alone) is None
    cluster = KubernetesSettings(kubeconfig="/etc/kubeconfig")
    reason = ApiServer.not_needed(Settings(tmp_path, tmp_path, cluster))
    assert reason is not None
    assert "[kubernetes]" in reason


def test_importing_it_is_cheap() -> None:
    """The supervisor imports it, and has none of these itself."""
    heavy = ("aiohttp", "asyncio", "cryptography", "sqlite3", "ssl")
    code = f"import sys, modules.apiserver; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"

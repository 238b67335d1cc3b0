"""The embedded API server inside a test, on a free port and with real HTTPS."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from modules.apiserver.http.server import Server
from modules.common.kube import KubeClient
from modules.common.pki.certificates import Pki
from supervisor.api import KubernetesSettings, Settings
from tests.support.pki import copy_pki


class Embedded(NamedTuple):
    kubeconfig: Path
    url: str


@asynccontextmanager
async def running_server(data_dir: Path) -> AsyncIterator[Server]:
    """Run a server on `data_dir`; its kubeconfig is in there."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        listening.setblocking(False)
        server = Server(data_dir)
        try:
            await server.start(listening)
            yield server
        finally:
            await server.stop()


def without_tokens(server: Server) -> None:
    """Give pods no token, so that edges are sent only what a test has made."""
    accounts = server.registry.catalog.find("", "v1", "serviceaccounts")
    for entry in server.store.collection(accounts.storage).snapshot():
        server.registry.modify(
            accounts, *entry.key, lambda account: {**account, "automountServiceAccountToken": False}
        )


@asynccontextmanager
async def embedded_apiserver(tmp_path: Path, pki: Pki) -> AsyncIterator[Embedded]:
    """Run a server for other modules' tests: `async with … as (kubeconfig, url)`."""
    with_data = tmp_path / "apiserver"
    copy_pki(pki, with_data)
    async with running_server(with_data) as server:
        assert server.url
        without_tokens(server)
        yield Embedded(with_data / "kubeconfig", server.url)


@asynccontextmanager
async def embedded_api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    """Run a server, and connect a client that may ask as often as it likes."""
    async with embedded_apiserver(tmp_path, pki) as (kubeconfig, _):
        kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig), qps=0)
        async with KubeClient.connect(Settings(tmp_path, tmp_path, kubernetes)) as client:
            yield client

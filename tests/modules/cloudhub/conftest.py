"""Fixtures: a hub on a free port of 127.0.0.1, with real TLS and channels, and edges for it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ipc import open_contexts
from modules.cloudhub.cluster.protocol import unit_names
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles
from modules.cloudhub.hub import Hub
from modules.common.pki.certificates import Pki, issue_node
from tests.modules.cloudhub.cloud import DEADLINE, PROJECT, Cloud, HubContext, Join
from tests.modules.cloudhub.edge import Edge


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Use uvloop, as modules do."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def client_tls(
    pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], ssl.SSLContext]:
    """Return TLS contexts of edges, each with the certificate of a node."""
    made: dict[str, ssl.SSLContext] = {}

    def of(node: str) -> ssl.SSLContext:
        if node not in made:
            certificate, key = issue_node(pki.directory, node)
            file: Path = tmp_path_factory.mktemp("edge") / "edge.pem"
            file.write_bytes(key + certificate)
            made[node] = ssl.create_default_context(cafile=str(pki.ca_cert))
            made[node].check_hostname = False
            made[node].load_cert_chain(file)
        return made[node]

    return of


@pytest.fixture
def run_hub(pki: Pki) -> Callable[..., Any]:
    """Run a hub with these settings: `async with run_hub(node_limit=2) as cloud`."""

    @asynccontextmanager
    async def run(
        *, modules: tuple[str, ...] = ("edgecontroller", "devicecontroller"), **settings: Any
    ) -> AsyncIterator[Cloud]:
        files = settings.pop("files", TlsFiles.of(pki))
        names = {"cloudhub": "cloudhub", "edgecontroller": "x", "devicecontroller": "x"}
        contexts = open_contexts(names | {name: name for name in modules})
        context = HubContext(contexts["cloudhub"].registry, "cloudhub")
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            listener.setblocking(False)
            hub = Hub(CloudHubConfig(**settings), context, ServerTls(files))  # type: ignore[arg-type]
            running = asyncio.create_task(hub.run(listener))
            ready = asyncio.create_task(context.is_ready.wait())
            await asyncio.wait(
                [running, ready], return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE
            )
            assert context.is_ready.is_set()
            try:
                yield Cloud(hub, context, listener.getsockname()[1], contexts)
            finally:
                context.stop()
                await asyncio.wait_for(running, DEADLINE)
                for each in (*contexts.values(), context):
                    each.close()

    return run


@pytest.fixture
def run_hubs(pki: Pki) -> Callable[..., Any]:
    """Run `count` hubs as CloudHub's processes, each on a port of its own."""

    @asynccontextmanager
    async def run(count: int, **settings: Any) -> AsyncIterator[list[Cloud]]:
        files = TlsFiles.of(pki)
        units = list(unit_names(count))
        names = dict.fromkeys(units, "") | {units[0]: "cloudhub"}
        controllers = {name: name for name in ("edgecontroller", "devicecontroller")}
        contexts = open_contexts(names | controllers)
        clouds: list[Cloud] = []
        running: list[asyncio.Task[None]] = []
        async with AsyncExitStack() as stack:
            for unit in units:
                context = HubContext(contexts[unit].registry, unit)
                stack.callback(context.close)
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
                listener.setblocking(False)
                config = CloudHubConfig(processes=count, stop_spread=0, **settings)
                hub = Hub(config, context, ServerTls(files), units)  # type: ignore[arg-type]
                running.append(asyncio.create_task(hub.run(listener)))
                clouds.append(Cloud(hub, context, listener.getsockname()[1], contexts))
            async with asyncio.timeout(DEADLINE):
                for cloud in clouds:
                    await cloud.context.is_ready.wait()
            try:
                yield clouds
            finally:
                for cloud in reversed(clouds):
                    cloud.context.stop()
                await asyncio.wait_for(asyncio.gather(*running), DEADLINE)
                for each in contexts.values():
                    each.close()

    return run


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    # Most of the tests' edges do not answer when the hub closes them.
    monkeypatch.setattr("modules.cloudhub.hub._STOPPING", 0.3)


@pytest.fixture
async def cloud(run_hub: Callable[..., Any]) -> AsyncIterator[Cloud]:
    async with run_hub() as running:
        yield running


@pytest.fixture
async def join(client_tls: Callable[[str], ssl.SSLContext]) -> AsyncIterator[Join]:
    """Connect an edge, `await join(cloud, "edge-1")`; it sends a keepalive unless `silent`.

    It speaks JSON if it is of `today`, and packed messages otherwise.
    """
    async with AsyncExitStack() as stack:

        async def connect(
            cloud: Cloud,
            node: str = "edge-1",
            *,
            certificate: str | None = None,
            silent: bool = False,
            today: bool = False,
            tls: ssl.SSLContext | None = None,
        ) -> Edge:
            edge = Edge(today=today)
            stack.push_async_callback(edge.leave)
            path = f"/{PROJECT}/{node}/events"
            status = await edge.connect(
                cloud.port, tls or client_tls(certificate or node), path, {"node_id": node}
            )
            assert status.startswith("HTTP/1.1 101 ")
            if not silent:
                await edge.keepalive()
            return edge

        yield connect


@pytest.fixture(params=[False, True], ids=["v1.1", "v1.23"])
async def edge(request: pytest.FixtureRequest, cloud: Cloud, join: Join) -> Edge:
    """Connect edge-1, of one generation and then of the other."""
    made: Edge = await join(cloud, today=request.param)
    await cloud.expect("edge-1", "connected")
    return made


@pytest.fixture
async def today(cloud: Cloud, join: Join) -> Edge:
    """Connect edge-1, of today."""
    made: Edge = await join(cloud, today=True)
    await cloud.expect("edge-1", "connected")
    return made

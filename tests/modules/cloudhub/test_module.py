"""The module's interface to the supervisor."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ipc import open_contexts
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.module import CloudHub
from modules.common.pki.certificates import Pki, ensure_pki
from modules.common.pki.host_names import own_names
from supervisor.api import CannotStart, Settings
from tests.modules.cloudhub.cloud import HubContext
from tests.modules.cloudhub.edge import Edge
from tests.support.waiting import DEADLINE


def module(tmp_path: Path, **config: object) -> CloudHub:
    settings = Settings(data_dir=tmp_path, run_dir=tmp_path)
    return CloudHub(CloudHubConfig(**config), settings)


def test_the_class_is_light() -> None:
    """The supervisor imports the class; the rest is imported in the module's own process."""
    code = "import modules.cloudhub, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert not {"picows", "uvloop", "cryptography", "google.protobuf"} & set(done.stdout.split())


async def test_it_makes_its_certificates_and_serves(tmp_path: Path) -> None:
    contexts = open_contexts({"cloudhub": "cloudhub"})
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        context.sockets = {"websocket": listener}
        running = asyncio.create_task(module(tmp_path).start(context))
        await asyncio.wait_for(context.is_ready.wait(), 20)
        assert (tmp_path / "pki" / "server.crt").exists()
        context.stop()
        await asyncio.wait_for(running, DEADLINE)
        assert listener.fileno() >= 0  # it is the supervisor's, for the next start
    context.close()


async def test_a_certificate_that_is_about_to_expire_is_made_anew_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.common.pki.signing.LEAF_LIFETIME", timedelta(days=10))
    pki = ensure_pki(tmp_path / "pki", own_names())
    before = pki.server_cert.read_bytes()
    # It was good enough when the module started, and some days later it is not.
    monkeypatch.setattr("modules.common.pki.certificates.RENEW_BEFORE", timedelta(days=5))
    monkeypatch.setattr("modules.common.pki.renewal._RENEWAL", 0.05)
    monkeypatch.setattr("modules.cloudhub.hub._REFRESH", 0.05)
    monkeypatch.setattr("modules.cloudhub.hub._SWEEP", 0.05)
    contexts = open_contexts({"cloudhub": "cloudhub"})
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        context.sockets = {"websocket": listener}
        running = asyncio.create_task(module(tmp_path).start(context))
        await asyncio.wait_for(context.is_ready.wait(), 20)
        assert pki.server_cert.read_bytes() == before
        monkeypatch.setattr("modules.common.pki.signing.LEAF_LIFETIME", timedelta(days=300))
        monkeypatch.setattr("modules.common.pki.certificates.RENEW_BEFORE", timedelta(days=30))

        async def shown() -> bytes:
            port = listener.getsockname()[1]
            pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
            return pem.strip().encode()

        async with asyncio.timeout(20):
            while await shown() == before.strip():
                await asyncio.sleep(0.05)
        assert await shown() == pki.server_cert.read_bytes().strip()
        context.stop()
        await asyncio.wait_for(running, DEADLINE)
    context.close()


async def test_wrong_certificates_end_it_for_good(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("ca", "cert", "key")}
    contexts = open_contexts({"cloudhub": "cloudhub"})
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    with pytest.raises(CannotStart, match="as the edges' CA: .*No such file"):
        await module(tmp_path, **files).start(context)


async def test_an_edge_that_comes_while_nobody_accepts_is_served_later(
    pki: Pki, client_tls: Callable[[str], ssl.SSLContext]
) -> None:
    """As during a restart: edges wait in the backlog of the supervisor's listening socket."""
    contexts = open_contexts({"cloudhub": "cloudhub", "edgecontroller": "edgecontroller"})
    context = HubContext(contexts["cloudhub"].registry, "cloudhub")
    edge = Edge()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        context.sockets = {"websocket": listener}
        port = listener.getsockname()[1]
        connecting = asyncio.create_task(
            edge.connect(port, client_tls("edge-1"), "/p/edge-1/events", {"node_id": "edge-1"})
        )
        await asyncio.sleep(0.1)
        running = asyncio.create_task(module(pki.directory.parent).start(context))
        assert " 101 " in await connecting
        context.stop()
        assert (await edge.closed())[0] == 1001
        await asyncio.wait_for(running, DEADLINE)
    await edge.leave()
    for each in (context, *contexts.values()):
        each.close()

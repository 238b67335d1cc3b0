"""A server for joining on a free port of 127.0.0.1, and what it works with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles
from modules.cloudhub.joining.exchange import RequestRefused
from modules.cloudhub.joining.routes import Routes
from modules.cloudhub.joining.server import JoiningServer
from modules.common.pki.authority import load_authority
from modules.common.pki.certificates import Pki
from modules.common.pki.token_store import TokenStore
from tests.modules.cloudhub.joiner import Joiner
from tests.support.pki import copy_pki

NODE = "edge-1"


class Door:
    """A running server for joining, and what it works with."""

    def __init__(self, data_dir: Path, port: int, routes: Routes) -> None:
        self.pki = Pki(data_dir / "pki")
        self.tokens = TokenStore(data_dir)
        self.port = port
        self.routes = routes
        self.authority = load_authority(self.pki.authority)

    def joiner(self, ttl: float = 3600) -> Joiner:
        return Joiner(self.port, self.tokens.create(ttl).text(self.authority))

    async def joined(self, node: str = NODE) -> Joiner:
        joiner = self.joiner()
        await joiner.join(node)
        return joiner


Nodes = dict[str, bool]


@pytest.fixture
def nodes() -> Nodes:
    """The Nodes of the API; one that is False makes the API unreachable."""
    return {}


@pytest.fixture
def open_door(pki: Pki, tmp_path: Path, nodes: Nodes) -> Callable[..., Any]:
    @asynccontextmanager
    async def run(lifetime: timedelta = timedelta(days=365), pki: Pki = pki) -> AsyncIterator[Door]:
        copy_pki(pki, tmp_path)
        own = Pki(tmp_path / "pki")
        tls = ServerTls(TlsFiles.of(own))

        async def exists(name: str) -> bool:
            if nodes.get(name) is False:
                raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, "the API does not say")
            return name in nodes

        routes = Routes(own.authority, TokenStore(tmp_path), exists, lifetime, own)
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            listener.setblocking(False)
            serving = asyncio.create_task(JoiningServer(listener, tls, routes).run())
            try:
                yield Door(tmp_path, listener.getsockname()[1], routes)
            finally:
                serving.cancel()
                await asyncio.wait([serving])

    return run


@pytest.fixture
async def door(open_door: Callable[..., Any]) -> AsyncIterator[Door]:
    async with open_door() as running:
        yield running


def bearer(joiner: Joiner) -> dict[str, str]:
    """Return the header that shows a joiner's token."""
    return {"Authorization": f"Bearer {joiner.token.partition('.')[2]}"}

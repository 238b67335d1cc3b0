"""Fixtures: the API server of a test, its requests, and kubectl."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from modules.apiserver.catalog import Catalog
from modules.apiserver.http.server import Server
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.registry.bootstrap import open_cluster
from modules.apiserver.registry.registry import Registry
from modules.apiserver.storage.store import Store
from modules.common.pki.certificates import Pki
from tests.modules.apiserver.api import Api, tls
from tests.support.apiserver import running_server
from tests.support.kubectl import Kubectl, runner
from tests.support.pki import copy_pki


@pytest.fixture
async def server(tmp_path: Path, pki: Pki) -> AsyncIterator[Server]:
    copy_pki(pki, tmp_path / "data")
    async with running_server(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    connector = aiohttp.TCPConnector(ssl=tls(server.pki))
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**22) as session:
        yield Api(server, session)


@pytest.fixture
def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    store = Store(tmp_path / "apiserver.db")
    yield open_cluster(store, Catalog(BUILTIN), "CA")
    store.close()


@pytest.fixture
def kubectl(server: Server, tmp_path: Path) -> Kubectl:
    """Run the real kubectl; returns its output, stderr included."""
    return runner(tmp_path, tmp_path / "data" / "kubeconfig")

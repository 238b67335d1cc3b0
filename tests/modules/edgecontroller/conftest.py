"""Fixtures: a running edge controller between an API server and a stand-in for cloudhub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modules.common.kube import NODES, KubeClient
from modules.common.pki.certificates import Pki
from modules.common.wire.generations import V1_23
from tests.modules.edgecontroller.cloud import Cloud, open_cloud
from tests.modules.edgecontroller.objects import Json, node
from tests.support.apiserver import Embedded, embedded_apiserver


@pytest.fixture
async def server(tmp_path: Path, pki: Pki) -> AsyncIterator[Embedded]:
    async with embedded_apiserver(tmp_path, pki) as embedded:
        yield embedded


@pytest.fixture
async def cloud(server: Embedded, tmp_path: Path) -> AsyncIterator[Cloud]:
    async with open_cloud(server, tmp_path) as cloud:
        yield cloud


@pytest.fixture
async def running(cloud: Cloud) -> AsyncIterator[Cloud]:
    """A controller with one edge node, connected, that has been told all there is."""
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.connect()
        await cloud.drain()
        yield cloud


@pytest.fixture
async def today(cloud: Cloud) -> AsyncIterator[Cloud]:
    """A controller with an edge of today, connected, whose Node does not exist yet."""
    async with cloud.controller():
        await cloud.connect(generation=V1_23)
        await cloud.drain()
        yield cloud


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Json]]:
    """The requests for tokens to the API server: service account, namespace, spec."""
    found: list[tuple[str, str, Json]] = []
    create = KubeClient.create_token

    async def noting(client: KubeClient, account: str, namespace: str, spec: Json) -> Json:
        found.append((account, namespace, spec))
        return await create(client, account, namespace, spec)

    monkeypatch.setattr(KubeClient, "create_token", noting)
    return found

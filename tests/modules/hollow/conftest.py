"""Fixtures: a minimal cloud for hollow edges, and an edge of 1.1."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modules.common.pki import certificates
from modules.hollow import tls
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from tests.modules.hollow.cloud import QUICK, Cloud, serving


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with serving() as running:
        yield running


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def edge(cloud: Cloud, events: list[Event]) -> AsyncIterator[HollowEdge]:
    made = HollowEdge("edge-1", cloud.url, kubeedge="1.1", timing=QUICK, on_event=events.append)
    async with made as running:
        await running.wait_connected()
        await cloud.wait(lambda: cloud.sessions)
        yield running


@pytest.fixture
async def tls_cloud(pki: certificates.Pki) -> AsyncIterator[Cloud]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    context.load_verify_locations(pki.ca_cert)
    context.verify_mode = ssl.CERT_REQUIRED
    async with serving(context) as running:
        yield running


@pytest.fixture(scope="session")
def edge_certs(pki: certificates.Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("edge")
    certificate, key = certificates.issue_node(pki.directory, "edge-1")
    (directory / "edge.crt").write_bytes(certificate)
    (directory / "edge.key").write_bytes(key)
    (directory / "rootCA.crt").write_bytes(pki.ca_cert.read_bytes())
    return directory


@pytest.fixture
def edge_tls(edge_certs: Path) -> ssl.SSLContext:
    return tls.from_directory(edge_certs)

"""Joining over a real TLS connection: certificates by token and by certificate, and refusals."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modules.cloudhub.endpoint.tls import ServerTls, TlsFiles
from modules.cloudhub.joining.exchange import Refused
from modules.cloudhub.joining.routes import Routes
from modules.cloudhub.joining.server import JoiningServer
from modules.common.pki.authority import load_authority
from modules.common.pki.certificates import Pki
from modules.common.pki.listing import list_certificates
from modules.common.pki.token_store import TokenStore
from tests.modules.cloudhub.joiner import Joiner, csr, new_key
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
    async def run(lifetime: timedelta = timedelta(days=365)) -> AsyncIterator[Door]:
        copy_pki(pki, tmp_path)
        own = Pki(tmp_path / "pki")
        tls = ServerTls(TlsFiles.of(own))

        async def exists(name: str) -> bool:
            if nodes.get(name) is False:
                raise Refused(503, "the Kubernetes API does not say")  # type: ignore[arg-type]
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


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


async def test_an_edge_joins_with_a_token(door: Door) -> None:
    joiner = door.joiner()
    certificate = await joiner.join(NODE)
    certificate.verify_directly_issued_by(door.authority.certificate)
    assert certificate.subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"
    assert usages(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.public_key() == joiner.key.public_key()
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=364) < left <= timedelta(days=365)
    assert NODE in [each.name for each in list_certificates(door.pki)]


async def test_the_lifetime_is_as_configured(open_door: Callable[..., Any]) -> None:
    async with open_door(timedelta(days=3)) as door:
        certificate = (await door.joined()).certificate
        assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=3, seconds=1)


async def test_names_of_the_request_are_not_certified(door: Door) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    headers = bearer(joiner) | {"NodeName": NODE}
    answered = await joiner.ask("GET", "/edge.crt", csr(NODE, sans=("cloud.example",)), headers)
    certificate = x509.load_der_x509_certificate(answered.body)
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


async def test_an_edge_renews_with_its_certificate(door: Door) -> None:
    joiner = await door.joined()
    first = joiner.certificate
    renewed = await joiner.renew(NODE)
    assert first and renewed.serial_number != first.serial_number
    assert renewed.public_key() == joiner.key.public_key()


async def test_a_certificate_renews_no_other_node(door: Door) -> None:
    joiner = await door.joined()
    answered = await joiner.ask("GET", "/edge.crt", csr("edge-2"), {"NodeName": "edge-2"})
    assert answered.status == 403
    assert "'edge-1'" in answered.text
    assert "'edge-2'" in answered.text


async def test_a_certificate_of_another_ca_is_refused(door: Door, tmp_path: Path) -> None:
    joiner = door.joiner()
    await joiner.get_ca()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{NODE}")])
    stranger = new_key()
    now = datetime.now(UTC)
    joiner.key = stranger
    joiner.certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(stranger.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(
            stranger,
            hashes.SHA256(),
        )
    )
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await joiner.ask("GET", "/edge.crt", csr(NODE), {"NodeName": NODE})


def bearer(joiner: Joiner) -> dict[str, str]:
    return {"Authorization": f"Bearer {joiner.token.partition('.')[2]}"}

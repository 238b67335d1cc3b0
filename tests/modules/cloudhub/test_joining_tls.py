# ruff: noqa: F811 - fixtures are named as arguments
"""Which of the server's two certificates a client gets, and that edges of 1.1 can verify theirs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from modules.common.pki import signing
from modules.common.pki.authority import write_authority
from modules.common.pki.certificates import Pki, ensure_pki, issue_node
from tests.modules.cloudhub.door import Door, door, nodes, open_door  # noqa: F401 - fixtures

#: The one suite of edges of KubeEdge 1.1 (edge/pkg/edgehub/common/http/http.go).
RSA_SUITE = "ECDHE-RSA-AES128-GCM-SHA256"
ECDSA_SUITES = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"


def client(ca: Path, version: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


async def shown(port: int, context: ssl.SSLContext) -> type:
    """Return the kind of key in the certificate that a client gets, and has verified."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    encoded = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    key = x509.load_der_x509_certificate(encoded).public_key()
    return rsa.RSAPublicKey if isinstance(key, rsa.RSAPublicKey) else ec.EllipticCurvePublicKey


@pytest.mark.parametrize(
    ("version", "ciphers", "kind"),
    [
        (ssl.TLSVersion.TLSv1_2, RSA_SUITE, rsa.RSAPublicKey),
        (ssl.TLSVersion.TLSv1_2, ECDSA_SUITES, ec.EllipticCurvePublicKey),
        (ssl.TLSVersion.TLSv1_2, "", ec.EllipticCurvePublicKey),
        (ssl.TLSVersion.TLSv1_3, "", ec.EllipticCurvePublicKey),
    ],
    ids=["edge 1.1", "ECDSA only", "TLS 1.2", "TLS 1.3"],
)
async def test_each_client_gets_the_certificate_that_it_can_use(
    door: Door, version: ssl.TLSVersion, ciphers: str, kind: type
) -> None:
    assert await shown(door.port, client(door.pki.ca_cert, version, ciphers)) is kind


@pytest.fixture
def rsa_pki(tmp_path: Path) -> Pki:
    """What an earlier cloudcore has made: all keys RSA, and no second server certificate."""
    pki = Pki(tmp_path / "rsa" / "pki")
    pki.directory.mkdir(parents=True)
    key = signing.new_rsa_key()
    authority = signing.Authority(signing.authority_certificate(key, "cloudcore-ca"), key)
    write_authority(pki.authority, authority)
    return pki


def test_an_rsa_ca_stays_and_signs_both_kinds(rsa_pki: Pki) -> None:
    before = rsa_pki.ca_cert.read_bytes()
    ensure_pki(rsa_pki.directory, [])
    assert rsa_pki.ca_cert.read_bytes() == before
    authority = x509.load_pem_x509_certificate(before)
    for path in (rsa_pki.server_cert, rsa_pki.server_rsa_cert, rsa_pki.admin_cert):
        x509.load_pem_x509_certificate(path.read_bytes()).verify_directly_issued_by(authority)


def test_the_rsa_certificate_of_an_earlier_cloudcore_keeps_its_names(rsa_pki: Pki) -> None:
    ensure_pki(rsa_pki.directory, ["cloud.example"])
    rsa_pki.server_rsa_cert.replace(rsa_pki.server_cert)
    rsa_pki.server_rsa_key.replace(rsa_pki.server_key)
    ensure_pki(rsa_pki.directory, [])
    for cert, key, kind in (
        (rsa_pki.server_cert, rsa_pki.server_key, ec.EllipticCurvePrivateKey),
        (rsa_pki.server_rsa_cert, rsa_pki.server_rsa_key, rsa.RSAPrivateKey),
    ):
        certificate, found = signing.load(cert, key)
        assert isinstance(found, kind)
        if cert == rsa_pki.server_cert:
            assert "cloud.example" in signing.names_of(certificate)


@pytest.mark.parametrize("ciphers", [RSA_SUITE, ECDSA_SUITES])
async def test_edges_of_an_rsa_ca_join_and_reconnect(
    rsa_pki: Pki, open_door: Callable[..., Any], tmp_path: Path, ciphers: str
) -> None:
    ensure_pki(rsa_pki.directory, [])
    async with open_door(pki=rsa_pki) as door:
        joiner = await door.joined()
        renewed = await joiner.renew("edge-1")
        renewed.verify_directly_issued_by(door.authority.certificate)
        context = client(rsa_pki.ca_cert, ssl.TLSVersion.TLSv1_2, ciphers)
        certificate, key = issue_node(rsa_pki.directory, "edge-old")
        (tmp_path / "edge.pem").write_bytes(key + certificate)
        context.load_cert_chain(tmp_path / "edge.pem")
        await shown(door.port, context)

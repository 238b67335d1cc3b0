"""A client that joins as edgecore 1.23 does (edge/pkg/edgehub/certificate/certmanager.go)."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DEADLINE = 20.0
EDGE_SUBJECT = (
    (NameOID.COUNTRY_NAME, "CN"),
    (NameOID.ORGANIZATION_NAME, "system:nodes"),
    (NameOID.LOCALITY_NAME, "Hangzhou"),
    (NameOID.STATE_OR_PROVINCE_NAME, "Zhejiang"),
)


@dataclass(frozen=True)
class Answered:
    """An answer of the server."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.body.decode()


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def csr(
    node: str,
    key: Any = None,
    *,
    subject: tuple[tuple[Any, str], ...] = EDGE_SUBJECT,
    common_name: str | None = None,
    sans: tuple[str, ...] = (),
) -> bytes:
    """Return a request in DER, as edgecore makes it unless it is said otherwise."""
    name = common_name if common_name is not None else f"system:node:{node}"
    attributes = [x509.NameAttribute(oid, value) for oid, value in subject]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if sans:
        names = x509.SubjectAlternativeName([x509.DNSName(each) for each in sans])
        builder = builder.add_extension(names, critical=False)
    made = builder.sign(key or new_key(), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


class Joiner:
    """An edge that wants to join the cloud at a port of 127.0.0.1, and each call a connection."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token
        self.ca = b""
        """DER"""
        self.certificate: x509.Certificate | None = None
        self.key = new_key()

    async def join(self, node: str) -> x509.Certificate:
        """Do what applyCerts does: the CA is compared with the token, and the name verified."""
        await self.get_ca()
        digest, _, web_token = self.token.partition(".")
        assert hashlib.sha256(self.ca).hexdigest() == digest
        headers = {"Authorization": f"Bearer {web_token}", "NodeName": node}
        return self._keep(await self.ask("GET", "/edge.crt", csr(node, self.key), headers))

    async def renew(self, node: str) -> x509.Certificate:
        """Do what rotateCert does: a new key, by the present certificate."""
        key = new_key()
        answered = await self.ask("GET", "/edge.crt", csr(node, key), {"NodeName": node})
        self.key = key
        return self._keep(answered)

    async def get_ca(self) -> None:
        """Get the CA over a connection on which nothing is verified."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        answered = await self.ask("GET", "/ca.crt", tls=context)
        assert answered.status == 200, answered.text
        self.ca = answered.body

    def _keep(self, answered: Answered) -> x509.Certificate:
        assert answered.status == 200, answered.text
        self.certificate = x509.load_der_x509_certificate(answered.body)
        return self.certificate

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Answered:
        return await asyncio.to_thread(self._ask, method, path, body, headers or {}, tls)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
    ) -> Answered:
        context = tls or self.tls()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=context, timeout=DEADLINE
        )
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answered(response.status, response.read(), dict(response.headers))
        finally:
            connection.close()

    def tls(self) -> ssl.SSLContext:
        """Verify the server by the CA and its address; show the certificate, if there is one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.ca)
        if self.certificate:
            with tempfile.TemporaryDirectory() as directory:
                file = Path(directory) / "edge.pem"
                file.write_bytes(_pem(self.key, self.certificate))
                context.load_cert_chain(file)
        return context


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)

"""The certificate of an edge: obtained with a token, and renewed before it ends.

After edge/pkg/edgehub/certificate/certmanager.go. The certificate is kept in memory, and survives
restarts of the edge as the files of a real one do.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modules.common.http_library import aiohttp
from modules.hollow import tls
from modules.hollow.dial import why_unreachable
from modules.hollow.events import Emit
from modules.hollow.v1_23.backoff import Backoff

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_LONGEST_BODY: Final = 1 << 20
#: The parts of a certificate's life between which it is renewed.
_RENEW_AT: Final = (0.7, 0.9)
#: Pauses between attempts to renew, in seconds.
_FIRST_RETRY: Final = 2.0
_LONGEST_RETRY: Final = 32.0


class JoinError(Exception):
    """The cloud gave no certificate; the text says why, and never contains the token."""


@dataclass(frozen=True)
class Identity:
    """The PEM texts of an edge's CA, certificate and key."""

    ca: bytes
    certificate: bytes
    key: bytes

    def context(self) -> ssl.SSLContext:
        """Return the context for connections; as every edge from 1.2 on it checks host names."""
        return tls.from_pem(self.ca, self.certificate, self.key, check_hostname=True)


class CertManager:
    """The certificate of one node, from the HTTPS server of a cloud (`https://HOST:10002`)."""

    def __init__(self, node: str, server: str, identity: Identity) -> None:
        self.identity = identity
        self._node = node
        self._server = server

    @classmethod
    async def join(cls, node: str, server: str, token: str) -> CertManager:
        """Get a certificate for the node with a token; raises JoinError."""
        authority = await _get(f"{server}/ca.crt", None, {})
        digest, _, credentials = token.strip().partition(".")
        if credentials.count(".") != 2:
            raise JoinError("cannot join: the token does not have four parts, separated by dots")
        if hashlib.sha256(authority).hexdigest() != digest:
            raise JoinError(
                f"cannot join: the CA of {server} is not the one that the token names; is it the "
                "token of this cloud?"
            )
        ca = _pem(x509.load_der_x509_certificate(authority))
        context = tls.trusting(ca, check_hostname=True)
        headers = {"Authorization": f"Bearer {credentials}"}
        return cls(node, server, await _apply(node, server, ca, context, headers))

    async def keep(self, on_renewed: Callable[[ssl.SSLContext], None], emit: Emit) -> None:
        """Renew the certificate whenever 70 to 90 % of its life are over, until cancelled."""
        while True:
            await asyncio.sleep(max(0.0, self._due() - datetime.now(UTC).timestamp()))
            backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)
            while not await self._renewed(emit):
                await backoff.sleep()
            on_renewed(self.identity.context())

    async def renew(self) -> None:
        """Get another certificate, by means of the present one; raises JoinError."""
        context = self.identity.context()
        self.identity = await _apply(self._node, self._server, self.identity.ca, context, {})

    async def _renewed(self, emit: Emit) -> bool:
        try:
            await self.renew()
        except JoinError as error:
            emit("certificate not renewed", self._server, str(error))
            return False
        emit("certificate renewed", self._server, "")
        return True

    def _due(self) -> float:
        """Return the time of the next renewal, in seconds since the epoch."""
        certificate = x509.load_pem_x509_certificate(self.identity.certificate)
        begin = certificate.not_valid_before_utc.timestamp()
        life = certificate.not_valid_after_utc.timestamp() - begin
        return begin + life * random.uniform(*_RENEW_AT)  # noqa: S311 - a jitter


async def _apply(
    node: str, server: str, ca: bytes, context: ssl.SSLContext, headers: dict[str, str]
) -> Identity:
    """Ask for a certificate for a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(node))
    body = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    answer = await _get(f"{server}/edge.crt", context, headers | {"NodeName": node}, body)
    try:
        certificate = x509.load_der_x509_certificate(answer)
    except ValueError as error:
        raise JoinError(f"cannot join: the answer of {server} is no certificate") from error
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return Identity(ca, _pem(certificate), pem)


def _subject(node: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Hangzhou"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Zhejiang"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
    )


async def _get(
    url: str, context: ssl.SSLContext | None, headers: dict[str, str], body: bytes = b""
) -> bytes:
    """Send a GET; without a context, as for the CA, the server is not verified."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(url, data=body, headers=headers, ssl=context or False) as response,
        ):
            answer = await response.content.read(_LONGEST_BODY)
            if response.status != 200:
                said = answer.decode(errors="replace").strip()
                raise JoinError(f"cannot get {url}: {response.status} {said}")
            return answer
    except (aiohttp.ClientError, TimeoutError) as error:
        raise JoinError(f"cannot get {url}: {why_unreachable(error)}") from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)

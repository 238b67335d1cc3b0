"""TLS of the server: its files, its versions, and which client certificates are accepted.

TLS 1.2 and 1.3; v1.1 edges offer only ECDHE-RSA-AES128-GCM-SHA256 in 1.2, which is in OpenSSL's
default list and needs a certificate with an RSA key. Go's v1.1.0 asks for a client certificate and
never verifies it (cloud/pkg/cloudhub/servers/wsserver/server.go); here one that the CA signed is
required.
"""

from __future__ import annotations

import logging
import ssl
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from modules.cloudhub.config import CloudHubConfig
from modules.common.file_versions import FileVersion, file_versions
from modules.common.pki import signing
from modules.common.pki.certificates import Pki, ensure_pki, unchanged
from modules.common.pki.host_names import served_names
from supervisor.api import CannotStart, Settings

log = logging.getLogger(__name__)

_UNKNOWN_CA: Final = (
    "its certificate is not signed by the CA that cloudcore trusts (another or an earlier CA): "
    "issue a new one, `cloudcore certs issue NODE`"
)
#: Why OpenSSL rejects a client certificate (X509_V_ERR_* of x509_vfy.h).
_REJECTED: Final = {
    9: "its certificate is not valid yet: compare the clocks",
    10: "its certificate has expired: issue a new one, `cloudcore certs issue NODE`",
    18: _UNKNOWN_CA,  # self-signed
    19: _UNKNOWN_CA,  # the end of the chain is another CA
    20: _UNKNOWN_CA,  # no issuer
    21: _UNKNOWN_CA,  # no chain
}
_DISTRUSTS: Final = (
    "it does not accept the server's certificate: compare its CA certificate with cloudcore's"
)
#: Other causes of a failed handshake, by OpenSSL's reason; an ALERT is sent by the client.
_FAILED: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no client certificate",
    "UNSUPPORTED_PROTOCOL": "it offers only TLS versions before 1.2",
    "VERSION_TOO_LOW": "it offers only TLS versions before 1.2",
    "NO_SHARED_CIPHER": "it offers no cipher suite that the server has",
    "HTTP_REQUEST": "it speaks HTTP without TLS",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "TLSV1_ALERT_UNKNOWN_CA": _DISTRUSTS,
    "SSLV3_ALERT_BAD_CERTIFICATE": _DISTRUSTS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _DISTRUSTS,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it finds the server's certificate expired",
}


def handshake_failure(error: OSError) -> str:
    """Return why a TLS handshake failed, in the operator's terms."""
    if isinstance(error, ssl.SSLCertVerificationError):
        other = f"its certificate is not accepted: {error.verify_message}"
        return _REJECTED.get(error.verify_code, other)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        # Without OpenSSL's function names and source lines.
        return _FAILED.get(reason, f"TLS handshake failed: {reason.replace('_', ' ').lower()}")
    if isinstance(error, ConnectionError) and not str(error):
        # Or the client rejects the certificate without an alert, as asyncio does.
        return (
            "it closed the connection in the TLS handshake: it gave up, or does not trust the "
            "server's certificate"
        )
    return f"TLS handshake failed: {error}"


@dataclass(frozen=True)
class TlsFiles:
    """PEM files."""

    ca: Path
    cert: Path
    key: Path
    rsa_cert: Path | None = None
    """a second certificate of the same CA, with an RSA key: edges of KubeEdge 1.1 need one"""
    rsa_key: Path | None = None
    pki: Pki | None = None
    """the directory of the files, if cloudcore keeps them itself"""

    @classmethod
    def of(cls, pki: Pki) -> Self:
        """Return the files of a directory that cloudcore keeps itself."""
        rsa = (pki.server_rsa_cert, pki.server_rsa_key)
        return cls(pki.ca_cert, pki.server_cert, pki.server_key, *rsa, pki)

    @property
    def pairs(self) -> list[tuple[Path, Path]]:
        """The server's certificates, each with its key."""
        pairs = [(self.cert, self.key)]
        if self.rsa_cert and self.rsa_key:
            pairs.append((self.rsa_cert, self.rsa_key))
        return pairs


def tls_files(config: CloudHubConfig, settings: Settings) -> TlsFiles:
    """Return the configured files, or create files in the data directory; raises CannotStart."""
    if config.ca:
        return TlsFiles(Path(config.ca), Path(config.cert), Path(config.key))
    try:
        pki = ensure_pki(settings.data_dir / "pki", served_names(config.names, config.address))
    except (OSError, ValueError) as error:
        raise CannotStart(
            f"cannot create the certificates for the edges' server: {error}"
        ) from error
    return TlsFiles.of(pki)


class ServerTls:
    """The SSL contexts for new connections; reloaded when their files change.

    `context` requires a certificate of the client; `joining_context`, for joining, allows one.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        # The embedded API server, which starts at the same time, has other names.
        with unchanged(files.pki) if files.pki else nullcontext():
            self._versions = self._read_versions()
            self._load()

    def refresh(self) -> None:
        """Reload the files if they have changed; existing connections are not affected.

        While certificate and key do not match, because they are replaced one by one, the old
        context is kept.
        """
        versions = self._read_versions()
        if versions == self._versions:
            return
        self._versions = versions
        try:
            self._load()
        except CannotStart as error:
            log.warning("changed certificates are not used yet: %s", error)
        else:
            log.info("certificates have changed: new connections use %s", self.files.cert)

    def _load(self) -> None:
        context = server_context(self.files)
        joining_context = server_context(self.files, ssl.CERT_OPTIONAL)
        # notAfter of the certificate that ends first, in seconds since the epoch
        self.expires = min(_expiry(cert) for cert, _ in self.files.pairs)
        self.context, self.joining_context = context, joining_context

    def _read_versions(self) -> tuple[FileVersion, ...]:
        return file_versions([self.files.ca, *(path for pair in self.files.pairs for path in pair)])


def _expiry(path: Path) -> float:
    """Return the end of the server's own certificate, the first of a chain; raises CannotStart."""
    try:
        return signing.load_certificate(path).not_valid_after_utc.timestamp()
    except (OSError, ValueError) as error:
        raise CannotStart(str(error)) from error


def server_context(files: TlsFiles, verify: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    """Return a context that asks for a client certificate; raises CannotStart.

    With CERT_OPTIONAL a client may show none, but one that it shows is verified.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = verify
    # Edges do not resume sessions (Go's client keeps no tickets unless told to).
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"cannot use {files.ca} as the edges' CA: {error}") from error
    for cert, key in files.pairs:  # OpenSSL keeps one of each kind of key
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise CannotStart(f"cannot use {cert} with the key {key}: {error}") from error
    return context

"""The list of the certificates in a PKI directory, and their states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from modules.common.pki import signing
from modules.common.pki.certificates import RENEW_BEFORE, Pki


@dataclass(frozen=True)
class Listed:
    """One certificate. `name` is ca, server, server-rsa, admin or the node's."""

    name: str
    kind: str
    """ca, server, admin or node"""
    subject: str
    names: list[str]
    """DNS names and addresses"""
    issued: datetime
    expires: datetime
    serial: str
    file: Path
    state: str
    """good, expiring (to be renewed now), expired, or foreign (of another CA)"""


def list_certificates(pki: Pki) -> Iterator[Listed]:
    """Return the CA, cloudcore's own certificates, and those of nodes sorted by name.

    Missing files are omitted. Raises ValueError, which names a file that is not a certificate.
    """
    if not pki.ca_cert.exists():
        return
    authority = signing.load_certificate(pki.ca_cert)
    yield _listed("ca", "ca", pki.ca_cert, authority)
    own = (
        ("server", "server", pki.server_cert),
        ("server-rsa", "server", pki.server_rsa_cert),
        ("admin", "admin", pki.admin_cert),
    )
    for name, kind, path in own:
        if path.exists():
            yield _listed(name, kind, path, authority)
    for path in sorted(pki.nodes.glob("*.crt")):
        yield _listed(path.name.removesuffix(".crt"), "node", path, authority)


def _listed(name: str, kind: str, path: Path, authority: x509.Certificate) -> Listed:
    certificate = signing.load_certificate(path)
    return Listed(
        name,
        kind,
        certificate.subject.rfc4514_string(),
        signing.names_of(certificate),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        f"{certificate.serial_number:x}",
        path,
        _state(certificate, authority),
    )


def _state(certificate: x509.Certificate, authority: x509.Certificate) -> str:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if left.total_seconds() <= 0:
        return "expired"
    if not signing.issued_by(certificate, authority):
        return "foreign"
    return "expiring" if left <= RENEW_BEFORE else "good"

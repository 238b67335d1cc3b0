"""The certificates that cloudcore makes for itself and for its edge nodes.

One directory holds a CA and what it has signed, as PEM files:

| file                   | who uses it                                                        |
|------------------------|--------------------------------------------------------------------|
| ca.crt, ca.key         | everybody trusts it; only this file signs with it                  |
| server.crt, server.key | cloudhub and the embedded API server, towards their clients        |
| admin.crt, admin.key   | the generated kubeconfig: O=system:masters, as kubeadm's admin     |

Keys are RSA 2048: edges of KubeEdge v1.1 offer one cipher suite,
TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, which an EC certificate cannot serve.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = 2048
CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
# What has less than this left is made anew on the next start.
RENEW_BEFORE = timedelta(days=30)
# A certificate is valid from a little in the past: clocks of edges are not exact.
CLOCK_SKEW = timedelta(hours=1)
ALWAYS_NAMED = ("localhost", "127.0.0.1")

# RFC 1123 subdomain, as Kubernetes wants a node's name; 64 bytes of CN (X.520's ub-common-name)
# less "system:node:".
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NODE_NAME = 52


@dataclass(frozen=True)
class Pki:
    """Paths of the PEM files of one PKI directory."""

    directory: Path

    @property
    def ca_cert(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def server_cert(self) -> Path:
        return self.directory / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.directory / "server.key"

    @property
    def admin_cert(self) -> Path:
        return self.directory / "admin.crt"

    @property
    def admin_key(self) -> Path:
        return self.directory / "admin.key"


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def ensure_pki(directory: Path, names: Sequence[str]) -> Pki:
    """Make what is missing in `directory`, and return where everything is.

    `names` are the DNS names and IP addresses that the server certificate must carry. Names
    that an existing one has stay in it, so that several callers with different names agree on
    one certificate. What is about to expire, or does not fit the CA, is made anew. Safe to call
    from several processes at a time.

    Raises OSError when the directory cannot be used, ValueError when a PEM file in it is
    damaged.
    """
    pki = Pki(directory)
    with _locked(directory):
        authority = _ensure_authority(pki)
        _ensure_server(pki, authority, names)
        _ensure_admin(pki, authority)
    return pki


def issue_node(pki_dir: Path, node: str) -> tuple[bytes, bytes]:
    """Return a new client certificate for the edge node `node`, and its key, as PEM.

    The subject is what kubelets have: O=system:nodes, CN=system:node:NAME. The CA is made if
    there is none yet. Raises ValueError when `node` is no name that a node can have.
    """
    if not _NODE_NAME.fullmatch(node):
        raise ValueError(
            f"{node!r} cannot be a node's name: it must consist of lower case letters, digits, "
            "'-' and '.', and start and end with a letter or digit"
        )
    if len(node) > _LONGEST_NODE_NAME:
        raise ValueError(
            f"{node!r} has {len(node)} characters, and a certificate has room for a node's name "
            f"of {_LONGEST_NODE_NAME}"
        )
    with _locked(pki_dir):
        authority = _ensure_authority(Pki(pki_dir))
    key = _new_key()
    certificate = _sign(
        authority,
        key,
        _subject(f"system:node:{node}", "system:nodes"),
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
    return _certificate_pem(certificate), _key_pem(key)


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a file that only its owner can read, in one step."""
    _write(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Replace `path` by a file that everybody may read, in one step."""
    _write(path, content, 0o644)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure_authority(pki: Pki) -> _Authority:
    if pki.ca_cert.exists():
        certificate, key = _load(pki.ca_cert, pki.ca_key)
        if certificate.public_key() != key.public_key():
            raise ValueError(
                f"{pki.ca_key} is not the key of {pki.ca_cert}: put the right one there, or "
                "remove both (and every certificate that was issued with them)"
            )
        return _Authority(certificate, key)
    key = _new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudcore-ca")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The certificate comes last: where it is, its key is.
    write_private(pki.ca_key, _key_pem(key))
    write_public(pki.ca_cert, _certificate_pem(certificate))
    return _Authority(certificate, key)


def _ensure_server(pki: Pki, authority: _Authority, names: Sequence[str]) -> None:
    wanted = dict.fromkeys(_canonical(name) for name in (*ALWAYS_NAMED, *names))
    if pki.server_cert.exists():
        certificate, key = _load(pki.server_cert, pki.server_key)
        present = _names_of(certificate)
        if wanted.keys() <= set(present) and _still_good(certificate, key, authority):
            return
        wanted = dict.fromkeys((*present, *wanted))
    key = _new_key()
    certificate = _sign(
        authority,
        key,
        _subject("cloudcore", None),
        ExtendedKeyUsageOID.SERVER_AUTH,
        x509.SubjectAlternativeName([_general_name(name) for name in wanted]),
    )
    write_private(pki.server_key, _key_pem(key))
    write_public(pki.server_cert, _certificate_pem(certificate))


def _ensure_admin(pki: Pki, authority: _Authority) -> None:
    if pki.admin_cert.exists() and _still_good(*_load(pki.admin_cert, pki.admin_key), authority):
        return
    key = _new_key()
    certificate = _sign(
        authority,
        key,
        _subject("kubernetes-admin", "system:masters"),
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
    write_private(pki.admin_key, _key_pem(key))
    write_public(pki.admin_cert, _certificate_pem(certificate))


def _still_good(
    certificate: x509.Certificate, key: rsa.RSAPrivateKey, authority: _Authority
) -> bool:
    # A kill between the two writes leaves a key without its certificate.
    return (
        certificate.public_key() == key.public_key()
        and certificate.issuer == authority.certificate.subject
        and _authority_key_id(certificate) == _subject_key_id(authority.certificate)
        and certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
    )


def _sign(
    authority: _Authority,
    key: rsa.RSAPrivateKey,
    subject: x509.Name,
    purpose: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(now + LEAF_LIFETIME, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _subject(common_name: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _canonical(name: str) -> str:
    return str(_general_name(name).value)


def _names_of(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in extension.value]


def _authority_key_id(certificate: x509.Certificate) -> bytes | None:
    extensions = certificate.extensions
    return extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier


def _subject_key_id(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    # PKCS #1 ("RSA PRIVATE KEY"), which every Go version's tls.LoadX509KeyPair reads.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _load(cert_path: Path, key_path: Path) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except ValueError as error:
        raise ValueError(f"cannot read {cert_path} and {key_path.name}: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{key_path} holds no RSA key, which edges of v1.1 need")  # noqa: TRY004
    return certificate, key


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)

"""X.509: keys, and certificates signed by the CA of cloudcore.

Keys are ECDSA P-256, as Go's cloudcore has them since KubeEdge 1.3. RSA 2048 is for what an edge of
1.1 talks to, and for a CA that an earlier cloudcore has made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Parsed = TypeVar("Parsed")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

RSA_BITS = 2048
CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
# Certificates are valid from a little in the past: the clocks of edges are not exact.
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Authority:
    """The CA's certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey


def authority_certificate(
    key: PrivateKey, common_name: str, *, backdated: timedelta | None = None
) -> x509.Certificate:
    """Return a self-signed CA certificate, valid since `backdated` ago (default CLOCK_SKEW)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - (CLOCK_SKEW if backdated is None else backdated))
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def sign(
    authority: Authority,
    key: PublicKey,
    subject: x509.Name,
    purpose: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None = None,
    *,
    also: Sequence[x509.ObjectIdentifier] = (),
    lifetime: timedelta | None = None,
    backdated: timedelta | None = None,
) -> x509.Certificate:
    """Return a certificate for a public key, valid for `lifetime` (default LEAF_LIFETIME).

    It is valid since `backdated` ago (default CLOCK_SKEW), and never for longer than the CA. `also`
    are further purposes.
    """
    now = datetime.now(UTC)
    end = now + (LEAF_LIFETIME if lifetime is None else lifetime)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - (CLOCK_SKEW if backdated is None else backdated))
        .not_valid_after(min(end, authority.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False, rsa_key=_is_rsa(key)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose, *also]), critical=False)
        .add_extension(_authority_key_id(authority.certificate), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _is_rsa(key: PublicKey) -> bool:
    return isinstance(key, rsa.RSAPublicKey)


def _authority_key_id(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names the CA's key as the CA itself does (RFC 5280, 4.2.1.1)."""
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:  # a CA that Go before 1.15 has made
        key = authority.public_key()
        assert isinstance(key, PublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def subject(common_name: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _key_usage(*, ca: bool, rsa_key: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=rsa_key,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def canonical(name: str) -> str:
    return str(general_name(name).value)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names and addresses; not the empty name that KubeEdge's cloudcore writes."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in extension.value if name.value]


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the CA's key has signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # cryptography has no common base of its exceptions
        return False
    return True


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def key_pem(key: PrivateKey) -> bytes:
    """Return a key as PEM: "EC PRIVATE KEY" (SEC 1) or "RSA PRIVATE KEY" (PKCS #1).

    tls.LoadX509KeyPair of every Go version reads both.
    """
    return _private_bytes(key, serialization.Encoding.PEM)


def key_der(key: PrivateKey) -> bytes:
    """Return the same as DER, as x509.MarshalECPrivateKey and MarshalPKCS1PrivateKey write it."""
    return _private_bytes(key, serialization.Encoding.DER)


def _private_bytes(key: PrivateKey, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(
        encoding,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def certificate_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def load(cert_path: Path, key_path: Path) -> tuple[x509.Certificate, PrivateKey]:
    """Read a certificate and its key; ValueError if one is damaged or of another kind, OSError."""
    certificate = load_certificate(cert_path)
    # Validation takes 40 ms of each start; the key is our own.
    parse = partial(
        serialization.load_pem_private_key, password=None, unsafe_skip_rsa_key_validation=True
    )
    key = _read(key_path, parse, "it is no private key in PEM without a password")
    if not isinstance(key, PrivateKey):
        raise ValueError(f"{key_path} is neither an ECDSA nor an RSA key")  # noqa: TRY004
    return certificate, key


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate; ValueError if it is damaged, OSError."""
    return _read(path, x509.load_pem_x509_certificate, "it is no certificate in PEM")


def _read(path: Path, parse: Callable[[bytes], Parsed], otherwise: str) -> Parsed:
    data = path.read_bytes()
    try:
        return parse(data)
    except Exception as error:  # cryptography has no common base of its exceptions
        raise ValueError(f"cannot read {path}: {otherwise}; restore it from a copy") from error

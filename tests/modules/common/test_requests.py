"""Certificate requests of others: what is read, and what is too costly to be verified."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from modules.common.pki.requests import read_request

#: The algorithm sha256WithRSAEncryption (RFC 4055), in DER.
SHA256_WITH_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")


def signed(key: Any) -> bytes:
    """Return a request in PEM that its own key has signed."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def of_rsa(bits: int, exponent: int) -> bytes:
    """Return a request in PEM of a key that nobody has: its signature is none."""
    modulus = secrets.randbits(bits) | 1 | 1 << (bits - 1)
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    info = der(0x30, b"\x02\x01\x00", der(0x30), spki, der(0xA0))
    signature = der(0x03, bytes(1 + bits // 8))
    text = base64.encodebytes(der(0x30, info, SHA256_WITH_RSA, signature))
    kind = b"CERTIFICATE REQUEST-----\n"
    return b"-----BEGIN " + kind + text + b"-----END " + kind


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(size))) + size + content


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-521", "Ed25519", "RSA 2048"],
)
def test_a_request_of_a_usual_key_is_read(key: Any) -> None:
    assert read_request(signed(key)).public_key() == key.public_key()


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (of_rsa(2048, 65537), "it is not signed by its own key"),
        (of_rsa(8192, 65537), "it is not signed by its own key"),
        (of_rsa(16384, 65537), "its key must be ECDSA"),
        (of_rsa(2048, 2**2040 + 1), "its key must be ECDSA"),
        (signed(ec.generate_private_key(ec.SECP256K1())), "its key must be ECDSA"),
        (b"", "it cannot be read: "),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "read"),
    ],
    ids=["2048", "8192", "too long", "its exponent", "another curve", "nothing", "damaged"],
)
def test_others_are_refused_before_their_signature_is_verified(request_: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_request(request_)

"""Certificate requests: those of edges are signed, all others refused with a reason."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from modules.cloudhub.joining.enrollment import enroll
from modules.cloudhub.joining.exchange import RequestRefused
from modules.common.pki.authority import new_authority
from tests.modules.cloudhub.joiner import EDGE_SUBJECT, csr, new_key

NODE = "edge-1"
CA = new_authority()
GOOD = csr(NODE)
#: The place of the number of unused bits in the signature, of which readers take no notice.
UNUSED_BITS = len(GOOD) - len(x509.load_der_x509_csr(GOOD).signature) - 1
DAY = timedelta(days=1)
ORGANIZATION = (NameOID.ORGANIZATION_NAME, "system:nodes")


def why_refused(request: bytes) -> str:
    with pytest.raises(RequestRefused) as refused:
        enroll(CA, NODE, request, DAY)
    assert refused.value.status is HTTPStatus.BAD_REQUEST
    text = str(refused.value)
    assert text.startswith("cannot sign the certificate request: ")
    return text


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "P-521", "RSA 2048"],
)
def test_usual_keys_are_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    certificate = enroll(CA, NODE, csr(NODE, key), DAY)
    certificate.verify_directly_issued_by(CA.certificate)
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP224R1()),
        dsa.generate_private_key(1024),
    ],
    ids=["RSA 1024", "secp256k1", "P-224", "DSA"],
)
def test_other_keys_are_refused(key: object) -> None:
    assert "key must" in why_refused(csr(NODE, key))


def test_a_signature_of_another_key_is_refused() -> None:
    """The public key is taken from somebody else: who asks does not have its private key."""
    theirs = x509.load_der_x509_csr(csr(NODE)).public_key()
    mine = csr(NODE)
    key = x509.load_der_x509_csr(mine).public_key()
    encoded = [_point(each) for each in (key, theirs)]
    assert mine.count(encoded[0]) == 1
    assert "signature" in why_refused(mine.replace(encoded[0], encoded[1]))


def _point(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (csr(NODE, common_name="edge-1"), "common name"),
        (csr(NODE, common_name="system:node:edge-2"), "common name"),
        (csr(NODE, common_name="system:node:edge-1 "), "common name"),
        (csr(NODE, common_name="kubernetes-admin"), "common name"),
        (csr(NODE, subject=((NameOID.COMMON_NAME, "system:node:edge-1"), ORGANIZATION)), "common"),
        (csr(NODE, common_name="kubeedge.io"), "common name"),
        (csr(NODE, subject=((NameOID.ORGANIZATION_NAME, "kubeEdge"),)), "organization"),
        (csr(NODE, subject=()), "organization"),
        (csr(NODE, subject=((NameOID.ORGANIZATION_NAME, "system:masters"),)), "organization"),
        (
            csr(NODE, subject=(ORGANIZATION, (NameOID.ORGANIZATION_NAME, "system:masters"))),
            "organization",
        ),
        (csr(NODE, subject=((NameOID.ORGANIZATION_NAME, "KubeEdge"),)), "organization"),
        (b"", "there is none"),
        (b"-----BEGIN CERTIFICATE REQUEST-----", "cannot be read"),
        (b"\x30\x82\xff\xff" + b"\x00" * 100, "cannot be read"),
        (b"\x30\x80" * 10_000, "cannot be read"),
        (GOOD[:-1], "cannot be read"),
        (GOOD + b"\x00", "cannot be read"),
    ],
)
def test_what_is_no_request_of_the_node_is_refused(request_: bytes, reason: str) -> None:
    assert reason in why_refused(request_)


@given(st.integers(0, len(GOOD) - 1).filter(lambda at: at != UNUSED_BITS), st.integers(1, 255))
def test_no_changed_byte_gets_past_the_signature(at: int, change: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= change
    why_refused(bytes(changed))


@given(st.binary(max_size=400))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    why_refused(data)


def test_ed25519_is_refused() -> None:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in EDGE_SUBJECT])
    name = x509.Name([*name, x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{NODE}")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    made = builder.sign(ed25519.Ed25519PrivateKey.generate(), None)
    from cryptography.hazmat.primitives.serialization import Encoding

    assert "key must" in why_refused(made.public_bytes(Encoding.DER))


def test_a_certificate_is_never_valid_longer_than_the_ca() -> None:
    certificate = enroll(CA, NODE, csr(NODE, new_key()), timedelta(days=36500))
    assert certificate.not_valid_after_utc == CA.certificate.not_valid_after_utc

"""Certificates for edges: what a request must say, and what is signed (CSRs of RFC 2986).

Go's cloudcore (cloud/pkg/cloudhub/servers/httpserver/certificate/certs.go) signs whatever subject,
names and usages a request has. Here the request must be for the node that asks, and nothing of it
but the public key gets into the certificate.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from modules.cloudhub.joining.exchange import RequestRefused
from modules.common.pki import signing
from modules.common.pki.certificates import NODE_PREFIX, NODES_GROUP, check_node_name, sign_node

#: Bytes of a request (constants.MaxRespBodyLength of Go); one of an edge has some 300.
MAX_REQUEST: Final = 1024 * 1024
#: x509.ExtKeyUsageClientAuth, as the header ExtKeyUsages numbers it.
_CLIENT_AUTH: Final = 2
#: Common name and organization in requests of edges up to KubeEdge 1.15, which name no node: of
#: those the header does (edge/pkg/edgehub/certificate/certmanager.go).
_UP_TO_1_15: Final = (["kubeedge.io"], ["kubeEdge"])
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
#: Bits of RSA keys; longer ones take long to verify.
_RSA_BITS: Final = range(2048, 4097)
_LARGEST_EXPONENT: Final = 2**32


def check_node(node: str) -> None:
    """Raise RequestRefused if the header NodeName names no node."""
    if not node:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, "the header NodeName is missing")
    try:
        check_node_name(node)
    except ValueError as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, str(error)) from error


def check_usages(header: str) -> None:
    """Raise RequestRefused if the header ExtKeyUsages, a JSON list, has more than clientAuth."""
    if not header:
        return
    try:
        usages = msgspec.json.decode(header, type=list[int])
    except msgspec.MsgspecError as error:
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST, "the header ExtKeyUsages is not a JSON list of numbers"
        ) from error
    if usages != [_CLIENT_AUTH]:
        raise RequestRefused(
            HTTPStatus.BAD_REQUEST,
            f"an edge's certificate is for client authentication alone: ExtKeyUsages must be "
            f"[{_CLIENT_AUTH}], or absent",
        )


def enroll(
    authority: signing.Authority, node: str, request: bytes, lifetime: timedelta
) -> x509.Certificate:
    """Return the certificate for a node's request in DER; raises RequestRefused."""
    return sign_node(authority, node, _key_of(request, node), lifetime)


def _key_of(data: bytes, node: str) -> signing.PublicKey:
    """Return the public key of a request for the node; RequestRefused says what is wrong."""
    if not data:
        raise _bad("there is none: the body must be the request in DER")
    try:
        request = x509.load_der_x509_csr(data)
        _check_subject(request.subject, node)
        key = _check_key(request.public_key())
        signed = request.is_signature_valid
    except RequestRefused:
        raise
    except Exception as error:  # cryptography has no common base of its exceptions
        raise _bad(f"it cannot be read as a request in DER ({type(error).__name__})") from error
    if not signed:
        raise _bad("its signature is not of its own key")
    return key


def _check_subject(subject: x509.Name, node: str) -> None:
    names = [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [each.value for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if (names, groups) == _UP_TO_1_15:
        return
    if names != [f"{NODE_PREFIX}{node}"]:
        raise _bad(f"its common name must be {NODE_PREFIX}{node}, the node that asks")
    if groups != [NODES_GROUP]:
        raise _bad(f"its organization must be {NODES_GROUP}")


def _check_key(key: object) -> signing.PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size in _RSA_BITS and key.public_numbers().e < _LARGEST_EXPONENT:
            return key
        raise _bad(
            f"its RSA key must have {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits and a usual exponent"
        )
    raise _bad("its key must be ECDSA (P-256, P-384, P-521) or RSA")


def _bad(reason: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, f"cannot sign the certificate request: {reason}")

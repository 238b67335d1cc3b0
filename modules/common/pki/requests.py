"""Certificate requests of others (PKCS #10, RFC 2986), read at a cost that is bounded."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

#: The curves whose signatures Go verifies (crypto/x509), and with it every other API server.
_CURVES: Final = (ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
#: Bits of an RSA key, as in Go's crypto/tls: a signature of a longer one, or of one with a large
#: exponent, takes milliseconds to verify.
_MOST_RSA_BITS: Final = 8192
_LARGEST_EXPONENT: Final = 2**32


def read_request(pem: bytes) -> x509.CertificateSigningRequest:
    """Return a request in PEM that its own key has signed; raises ValueError, which says why not.

    The signature is verified only if that does not take long.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        list(request.extensions)
        usual = _is_usual(request.public_key())
        signed = usual and request.is_signature_valid
    except Exception as error:  # of any class: UnsupportedAlgorithm and others are no ValueError
        raise ValueError(f"it cannot be read: {error}") from error
    if not usual:
        raise ValueError(
            f"its key must be ECDSA (P-224, P-256, P-384, P-521), Ed25519, or RSA of up to "
            f"{_MOST_RSA_BITS} bits with a usual exponent"
        )
    if not signed:
        raise ValueError("it is not signed by its own key")
    return request


def _is_usual(key: object) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, _CURVES)
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size <= _MOST_RSA_BITS and key.public_numbers().e < _LARGEST_EXPONENT
    return isinstance(key, ed25519.Ed25519PublicKey)

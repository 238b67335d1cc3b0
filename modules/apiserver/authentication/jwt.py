"""JSON Web Tokens (RFC 7519), signed with one ECDSA P-256 key (ES256).

The ID of the key is that of kube-apiserver: the SHA-256 digest of the public key
(pkg/serviceaccount/jwt.go). A token is read only if its header names ES256 and this key.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from ipc.files import replace_file
from modules.apiserver.meta.objects import Json, encode
from modules.common.pki import base64url, signing

ALGORITHM: Final = "ES256"
#: Bytes of one coordinate, and of each half of a signature.
_COORDINATE: Final = 32
_ES256: Final = ec.ECDSA(hashes.SHA256())


class BadToken(Exception):
    """A token that is not accepted; the text says why, and has nothing of the token."""


class TokenKey:
    """The key that signs the tokens of service accounts."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        der = self._public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._id = base64url.encode(hashlib.sha256(der).digest())

    def sign(self, claims: Json) -> str:
        """Return a token with these claims."""
        header = encode({"alg": ALGORITHM, "kid": self._id})
        signed = f"{base64url.encode(header)}.{base64url.encode(encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), _ES256))
        signature = r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
        return f"{signed}.{base64url.encode(signature)}"

    def read(self, token: str) -> Json:
        """Return the claims of a token that this key has signed; raises BadToken."""
        signed, _, signature = token.rpartition(".")
        header, _, claims = signed.partition(".")
        head = _object(header)
        if head.get("alg") != ALGORITHM or head.get("kid") != self._id:
            raise BadToken("it is not signed with the key of this server")
        self._verify(signed, _bytes(signature))
        return _object(claims)

    def _verify(self, signed: str, signature: bytes) -> None:
        if len(signature) != 2 * _COORDINATE:
            raise BadToken("its signature is damaged")
        r, s = signature[:_COORDINATE], signature[_COORDINATE:]
        encoded = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        try:
            self._public.verify(encoded, signed.encode(), _ES256)
        except InvalidSignature as error:
            raise BadToken("its signature does not match") from error

    def jwk(self) -> Json:
        """Return the public key as a JSON Web Key (RFC 7517)."""
        numbers = self._public.public_numbers()
        return {
            "use": "sig",
            "kty": "EC",
            "kid": self._id,
            "crv": "P-256",
            "alg": ALGORITHM,
            "x": base64url.encode(numbers.x.to_bytes(_COORDINATE, "big")),
            "y": base64url.encode(numbers.y.to_bytes(_COORDINATE, "big")),
        }


def ensure_key(path: Path) -> TokenKey:
    """Read the key from a file, or make it; raises OSError, and ValueError for a damaged file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        made = signing.new_key()
        replace_file(path, signing.key_pem(made))
        return TokenKey(made)
    hint = "restore it, or remove it: then all tokens of service accounts become invalid"
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot read {path}: it is not a private key in PEM; {hint}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError(f"cannot use {path}: it is not an ECDSA key on P-256; {hint}")
    return TokenKey(key)


def _bytes(text: str) -> bytes:
    try:
        return base64url.decode(text)
    except ValueError as error:
        raise BadToken("it is not a JSON Web Token") from error


def _object(part: str) -> Json:
    try:
        found: Any = msgspec.json.decode(_bytes(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadToken("it is not a JSON Web Token") from error
    if not isinstance(found, dict):
        raise BadToken("it is not a JSON Web Token")
    return found

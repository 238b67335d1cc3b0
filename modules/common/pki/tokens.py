"""Join tokens in the form of Go's cloudcore (pkg/security/token/token.go).

    hex(sha256(CA certificate)).HEADER.PAYLOAD.SIGNATURE

The edge compares the first part with the CA certificate that it was given, and shows the others: a
JSON web token (RFC 7519), HS256, whose key is the DER of the CA's private key. Beside `exp` it has
an id, `jti`, by which it can be revoked; one of Go's without it is accepted as well.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from modules.common.pki import base64url, signing

#: Characters of a web token that are read at all; those of Go have 105, and ours 130.
MAX_LENGTH: Final = 1024
_ALGORITHM: Final = "HS256"
_HEADER: Final = b'{"alg":"HS256","typ":"JWT"}'


class InvalidToken(Exception):
    """A token does not let its holder join; the text says why, and has nothing of the token."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a token says."""

    exp: int
    """the second since the epoch at which it expires"""
    jti: str = ""


class _Header(msgspec.Struct, frozen=True):
    alg: str


def make_token(authority: signing.Authority, claims: Claims) -> str:
    """Return the token, four parts, that has these claims."""
    certificate = signing.certificate_der(authority.certificate)
    signed = f"{base64url.encode(_HEADER)}.{base64url.encode(msgspec.json.encode(claims))}"
    signature = base64url.encode(_signature(authority, signed))
    return f"{hashlib.sha256(certificate).hexdigest()}.{signed}.{signature}"


def verify_token(authority: signing.Authority, token: str, now: float) -> Claims:
    """Return the claims of a web token: the last three parts, as an edge shows them.

    `now` is in seconds since the epoch. Raises InvalidToken. Whether it is revoked is not known
    here.
    """
    parts = token.split(".") if len(token) <= MAX_LENGTH else []
    if len(parts) != 3 or not token.isascii():
        raise InvalidToken("it is not a token: HEADER.PAYLOAD.SIGNATURE is expected")
    try:
        header, payload, signature = map(base64url.decode, parts)
        algorithm = msgspec.json.decode(header, type=_Header).alg
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidToken("it is not a JSON web token") from error
    if algorithm != _ALGORITHM:
        raise InvalidToken("its algorithm is not HS256")
    if not hmac.compare_digest(signature, _signature(authority, f"{parts[0]}.{parts[1]}")):
        raise InvalidToken("it was not made by this cloudcore's CA")
    try:
        claims = msgspec.json.decode(payload, type=Claims)
    except msgspec.MsgspecError as error:
        raise InvalidToken("it has no expiry (claim exp)") from error
    if now >= claims.exp:
        raise InvalidToken("it has expired; make another one with `cloudcore token create`")
    return claims


def _signature(authority: signing.Authority, signed: str) -> bytes:
    return hmac.digest(signing.key_der(authority.key), signed.encode(), hashlib.sha256)

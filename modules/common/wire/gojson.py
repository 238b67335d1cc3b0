"""JSON that equals the output of Go's encoding/json for a map, byte for byte.

An edge compares some values as text, so the format is part of the protocol: keys sorted,
no spaces, `<`, `>` and `&` escaped, as are U+2028 and U+2029 (encoding/json encode.go). Backspace
and form feed are written as Go up to 1.21 does; later it writes them short, which reads the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

import msgspec

_encode = msgspec.json.Encoder(order="deterministic").encode

# In MessagePack a float is 0xcb and its eight bytes; NaN and infinity have an exponent of ones. It
# takes a thirtieth of the time of looking at each value. What looks like one may be in a string.
_pack = msgspec.msgpack.Encoder().encode
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")

# They occur only inside of strings, so it is enough to replace them in the encoded bytes.
_ESCAPES: Final = (
    (b"<", rb"\u003c"),
    (b">", rb"\u003e"),
    (b"&", rb"\u0026"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)

# The bytes with which an escaped character begins (\xe2 for U+2028 and U+2029): one search for all.
_SPECIAL: Final = b"<>&\\\xe2"

# The two encoders differ only for floats and for the short escapes \b and \f. The first two
# patterns find the end of a float (or of a string that looks like one), the third reads tokens. The
# first two as one pattern, which has no fixed first byte, take three times as long.
_FRACTION_END: Final = re.compile(rb"\.\d+(?:[,}\]]|\Z)")
_EXPONENT_END: Final = re.compile(rb"e[-+]?\d+(?:[,}\]]|\Z)")
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?')
_SHORT_ESCAPE: Final = re.compile(rb"\\(.)")


def dumps(value: Any, *, short_escapes: bool = False) -> bytes:
    """Encode a JSON-like value; bytes become base64, as for []byte in Go.

    With `short_escapes` backspace and form feed are written short, as Go does since 1.22.
    Raises TypeError, ValueError or RecursionError for a value that JSON cannot represent.
    """
    data = _encode(value)
    if b"null" in data and not _is_finite(value):
        raise ValueError("NaN and infinity are no values of JSON")
    special = len(data.translate(None, _SPECIAL)) < len(data)
    if special:
        for raw, escaped in _ESCAPES:
            data = data.replace(raw, escaped)
    has_floats = _FRACTION_END.search(data) or _EXPONENT_END.search(data)
    has_long_escapes = not short_escapes and special and (rb"\b" in data or rb"\f" in data)
    if has_floats or has_long_escapes:
        data = _TOKEN.sub(_number_token if short_escapes else _go_token, data)
    return data


def _is_finite(value: Any) -> bool:
    """Whether no number in a value is NaN or infinite: msgspec writes null for them, Go fails."""
    try:
        if not _NOT_FINITE.search(_pack(value)):
            return True
    except OverflowError:  # an integer of more than 64 bits
        pass
    return _numbers_are_finite(value)


def _numbers_are_finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    elif isinstance(value, msgspec.Struct):
        inner = (getattr(value, field) for field in value.__struct_fields__)
    return all(map(_numbers_are_finite, inner))


def _number_token(match: re.Match[bytes]) -> bytes:
    token = match[0]
    is_float = not token.startswith(b'"') and (b"." in token or b"e" in token)
    return _go_float(token) if is_float else token


def _go_token(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.startswith(b'"'):
        return _SHORT_ESCAPE.sub(_go_escape, token) if b"\\" in token else token
    return _go_float(token) if b"." in token or b"e" in token else token


def _go_escape(match: re.Match[bytes]) -> bytes:
    return {b"b": rb"\u0008", b"f": rb"\u000c"}.get(match[1], match[0])


def _go_float(token: bytes) -> bytes:
    """Format a float as Go does: no `.0`, an exponent below 1e-6 and from 1e21 on."""
    value = float(token)
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = f"{value!r}".partition("e")
        sign = "-" if exponent.startswith("-") else "+"
        return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-0')}".encode()
    return f"{_plain(repr(value))}".encode()


def _plain(text: str) -> str:
    """Return the shortest form of a float without an exponent."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text.removesuffix(".0")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    shift = int(exponent)
    if shift < 0:
        return f"{sign}0.{'0' * (-shift - 1)}{whole}{fraction}"
    return f"{sign}{whole}{fraction.ljust(shift, '0')}"

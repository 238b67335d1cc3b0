"""Frames websocket messages as a server sends them (RFC 6455, 5.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

# FIN and the opcode; a server does not mask.
_WHOLE_TEXT: Final = 0x81
_WHOLE_BINARY: Final = 0x82
_SMALL, _MEDIUM = 126, 65536
_medium = struct.Struct(">BBH").pack
_large = struct.Struct(">BBQ").pack


def frames_of(messages: Iterable[bytes], *, text: bool) -> bytes:
    """Return messages, text or binary, in a frame each, concatenated.

    The two websocket messages of a packed message thus become one TLS record, one write and one
    packet, which halves the cost of a small message.
    """
    first = _WHOLE_TEXT if text else _WHOLE_BINARY
    parts = []
    for message in messages:
        length = len(message)
        if length < _SMALL:
            parts.append(bytes((first, length)))
        elif length < _MEDIUM:
            parts.append(_medium(first, 126, length))
        else:
            parts.append(_large(first, 127, length))
        parts.append(message)
    return b"".join(parts)

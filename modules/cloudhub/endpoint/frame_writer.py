"""Frames websocket messages as a server sends them (RFC 6455, 5.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

_WHOLE_BINARY: Final = 0x82  # FIN, opcode 2; a server does not mask
_SMALL, _MEDIUM = 126, 65536
_medium = struct.Struct(">BBH").pack
_large = struct.Struct(">BBQ").pack


def frames_of(messages: Iterable[bytes]) -> bytes:
    """Return binary messages in a frame each, concatenated.

    The two websocket messages of a packed message thus become one TLS record, one write and one
    packet, which halves the cost of a small message.
    """
    parts = []
    for message in messages:
        length = len(message)
        if length < _SMALL:
            parts.append(bytes((_WHOLE_BINARY, length)))
        elif length < _MEDIUM:
            parts.append(_medium(_WHOLE_BINARY, 126, length))
        else:
            parts.append(_large(_WHOLE_BINARY, 127, length))
        parts.append(message)
    return b"".join(parts)

"""Websocket messages as a server writes them (RFC 6455, 5.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

_WHOLE_BINARY: Final = 0x82  # FIN, opcode 2; a server does not mask
_SMALL, _MEDIUM = 126, 65536
_medium = struct.Struct(">BBH").pack
_large = struct.Struct(">BBQ").pack


def frames_of(messages: Iterable[bytes]) -> bytes:
    """Put binary messages into a frame each, all of them in one run of bytes.

    So the two that make a message of the packed form are one TLS record, one write and one
    packet: half of what sending a small message costs.
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

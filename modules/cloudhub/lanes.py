"""Message forms, and which one a connection speaks: its first websocket message tells.

A further form is one file in modules/common/wire and one line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ipc import Message
from modules.common.wire import WireError, packed


class Decoder(Protocol):
    """Reads one connection's websocket messages; WireError for what is not the form's."""

    def feed(self, data: bytes | bytearray) -> list[Message]: ...


@dataclass(frozen=True, slots=True)
class Lane:
    """One message form."""

    name: str
    encode: Callable[[Message], tuple[bytes, ...]]
    """a message into the websocket messages to write; WireError if that is impossible"""
    decoder: Callable[[int], Decoder]
    """makes a reader, given the largest message in bytes"""


PACKED = Lane("packed", packed.encode, packed.Decoder)


def lane_of(first: bytes | bytearray) -> Lane:
    """Tell the form from a connection's first websocket message, which is not empty."""
    if first.lstrip()[:1] == b"{":
        raise WireError("messages in JSON, the form of KubeEdge v1.2 and later, are not served")
    return PACKED

"""What a protocol generation is: a message form, and what edges of that form expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ipc import Message


class Decoder(Protocol):
    """Decodes one connection's websocket messages; raises WireError for any other form."""

    def feed(self, data: bytes | bytearray) -> list[Message]: ...


@dataclass(frozen=True, slots=True)
class Generation:
    """The protocol of a range of KubeEdge versions."""

    name: str
    """what the controllers are told (modules/common/wire/generations.py)"""
    form: str
    """name of the message form, which `cloudcore nodes` shows"""
    begins: Callable[[bytes], bool]
    """whether the first bytes of a connection (at least one) are of this form"""
    encode: Callable[[Message], tuple[bytes, ...]]
    """encodes a message as the websocket messages to write; raises WireError if it cannot"""
    decoder: Callable[[int], Decoder]
    """makes a decoder, given the largest message in bytes"""
    keepalive: str
    """the operation of keepalives, which are not passed on to the controllers"""
    text: bool
    """whether websocket messages are text, not binary"""

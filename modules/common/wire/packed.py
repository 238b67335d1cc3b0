"""The packed format: the protocol of v1.1 edges over a websocket.

A message is two binary websocket messages, a 10-byte header and a protobuf payload
(vendor/github.com/kubeedge/viaduct/pkg/packer, translator/message.go). The Go reader takes the
websocket messages as one stream of bytes, and its process dies when header and payload share
one, when the length is zero and when the payload lacks one of its two sub-messages. So `encode`
writes exactly two and always both sub-messages, and `Decoder` refuses those three.

    bytes 0-3  version      01 01 01 00
    byte  4    type         01, a message
    byte  5    flags        00; no reader looks at it
    bytes 6-9  length of the payload, big-endian
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from ipc import Message
from modules.common.wire import gojson
from modules.common.wire.errors import WireError

if TYPE_CHECKING:
    from modules.common.wire import message_pb2

VERSION: Final = b"\x01\x01\x01\x00"
TYPE_MESSAGE: Final = 1

# An API object may have 1.5 MiB in etcd; a list of many (services, endpoints) goes in one message.
DEFAULT_MAX_PAYLOAD: Final = 16 * 1024 * 1024

_HEADER: Final = struct.Struct(">4sBBI")

# The start of a protobuf payload with the header first: the field, and a length of one byte.
_HEADER_FIELD: Final = 0x0A
_LONG: Final = 0x80


def encode(message: Message) -> tuple[bytes, bytes]:
    """Encode a message into its two websocket messages, both binary: header and payload.

    Content: str and bytes are sent unchanged, None as nothing, other values as JSON in Go's format.
    Raises WireError, which names the message, if its content or fields cannot be encoded.
    """
    try:
        packed = _payload_type()(content=_content(message.content))
        # Built in place: sub-messages that are built separately would be copied.
        header, router = packed.header, packed.router
        header.id = message.id
        header.parent_id = message.parent_id
        header.timestamp = message.timestamp
        header.sync = message.sync
        router.source = message.source
        router.group = message.group
        router.operation = message.operation
        router.resource = message.resource
        payload = packed.SerializeToString()
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(
            f"message {message.id} ({message.operation} {message.resource}) "
            f"cannot be sent to an edge: {error}"
        ) from error
    return _HEADER.pack(VERSION, TYPE_MESSAGE, 0, len(payload)), payload


def _content(content: Any) -> bytes:
    if content is None:
        return b""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    return gojson.dumps(content)


class Decoder:
    """The decoder of one connection; it holds at most one payload in memory."""

    __slots__ = (
        *("_header", "_max_payload", "_missing", "_payload", "_repeated", "_repeats", "_rest"),
    )

    def __init__(self, max_payload: int = DEFAULT_MAX_PAYLOAD, *, repeats: str = "") -> None:
        """Set up for payloads of up to `max_payload` bytes.

        Messages of the operation `repeats` (keepalives) are cached: if a message differs from the
        previous one only in its header (id, time), that one is returned again without decoding.
        """
        self._max_payload = max_payload
        self._repeats = repeats
        self._repeated: Message
        self._rest = b""  # the previous one's payload after its header; empty if there was none
        self._header = bytearray()
        self._payload = bytearray()
        self._missing = 0  # bytes of the payload still to come; 0 while a header is expected

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Decode the next websocket message, binary or text; return the completed Messages.

        Content is always bytes, b"" for none: the format cannot tell them apart. Empty websocket
        messages, and headers and payloads split over several, are valid, as in Go. Raises WireError
        for anything else.
        """
        if not data:
            return []
        if not self._missing:
            self._read_header(data)
            return []
        if len(data) > self._missing:
            raise WireError(f"{len(data) - self._missing} bytes more than the header announced")
        self._missing -= len(data)
        if self._missing or self._payload:
            self._payload += data
        if self._missing:
            return []
        payload = bytes(self._payload or data)
        self._payload.clear()
        return [self._message(payload)]

    def _message(self, payload: bytes) -> Message:
        if self._rest and payload.endswith(self._rest) and _rest_of(payload) == self._rest:
            return self._repeated
        message = _parse(payload)
        if self._repeats and message.operation == self._repeats:
            self._repeated, self._rest = message, _rest_of(payload)
        return message

    def _read_header(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) == _HEADER.size and not self._header:  # as every edge writes it
            self._expect(_check_start(data))
            return
        surplus = len(self._header) + len(data) - _HEADER.size
        if surplus > 0:
            whole = bytes(self._header) + bytes(data[: _HEADER.size])
            _check_start(whole[: _HEADER.size])
            raise WireError("header and payload in one websocket message")
        self._header += data
        if surplus < 0:
            return
        length = _check_start(bytes(self._header))
        self._header.clear()
        self._expect(length)

    def _expect(self, length: int) -> None:
        if length == 0:
            raise WireError("header announces a payload of zero bytes")
        if length > self._max_payload:
            raise WireError(
                f"header announces a payload of {length} bytes, more than {self._max_payload}"
            )
        self._missing = length


def _check_start(header: bytes | bytearray | memoryview) -> int:
    """Check version and type of a header; return the payload's length."""
    version, kind, _flags, length = _HEADER.unpack(header)
    if version != VERSION:
        raise WireError(f"header starts with {version.hex(' ')}, not with version 01 01 01 00")
    if kind != TYPE_MESSAGE:
        raise WireError(f"package type {kind:#04x} is not a message (0x01)")
    return int(length)


@cache
def _payload_type() -> type[message_pb2.Message]:
    """Return the class of payloads, imported for the first: most clouds have no edge of v1.1."""
    from modules.common.wire import message_pb2

    return message_pb2.Message


def _rest_of(payload: bytes) -> bytes:
    """Return the payload after a short header at its start; empty if there is none."""
    short = payload[0] == _HEADER_FIELD and payload[1] < _LONG
    return payload[payload[1] + 2 :] if short else b""


def _parse(payload: bytes) -> Message:
    try:
        packed = _payload_type().FromString(payload)
    except DecodeError as error:
        raise WireError(f"payload of {len(payload)} bytes is no protobuf message") from error
    for part in ("header", "router"):
        if not packed.HasField(part):
            raise WireError(f"payload without {part}")
    header, router = packed.header, packed.router
    return Message(
        header.id,
        header.parent_id,
        header.timestamp,
        header.sync,
        router.source,
        router.group,
        router.operation,
        router.resource,
        packed.content,
    )

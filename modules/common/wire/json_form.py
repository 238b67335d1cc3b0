"""The JSON format: one message is one JSON document.

Edges of KubeEdge v1.2 and later use it over a websocket, and the CSI driver of v1.1 over a Unix
socket (vendor/github.com/kubeedge/beehive/pkg/core/model/message.go):

    {"header": {"msg_id", "parent_msg_id", "timestamp", "resourceversion", "sync", "type"},
     "route": {"source", "destination", "group", "operation", "resource"}, "content": …}

Unknown fields are ignored, as in encoding/json; bytes as content are base64. Field names are
matched exactly, while encoding/json also takes other cases of them, which no edge writes.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ipc import Message
from modules.common.wire import gojson
from modules.common.wire.errors import WireError

DEFAULT_MAX_MESSAGE: Final = 16 * 1024 * 1024


class _Header(msgspec.Struct, omit_defaults=True):
    # Fields with a default are optional in received messages, and always written.
    id: str = msgspec.field(name="msg_id", default_factory=str)
    parent_id: str = msgspec.field(name="parent_msg_id", default="")
    timestamp: int = msgspec.field(default_factory=int)
    resource_version: str = msgspec.field(name="resourceversion", default="")
    sync: bool = False
    type: str = ""


class _Route(msgspec.Struct, omit_defaults=True):
    source: str = ""
    destination: str = ""
    group: str = ""
    operation: str = ""
    resource: str = ""


class _Document(msgspec.Struct):
    header: _Header = msgspec.field(default_factory=_Header)
    route: _Route = msgspec.field(default_factory=_Route)
    content: Any = None


class _Envelope(msgspec.Struct):
    """A document whose content is not decoded."""

    header: _Header = msgspec.field(default_factory=_Header)
    route: _Route = msgspec.field(default_factory=_Route)
    content: msgspec.Raw = msgspec.Raw(b"null")


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_content = msgspec.json.decode

#: An escape: a pair of surrogates, a surrogate alone, or any other.
_ESCAPE: Final = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|"
    rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}|(\\.)",
    re.DOTALL,
)


def encode(message: Message) -> tuple[bytes]:
    """Encode a message into its one websocket message, which ends with a newline as in Go.

    Raises WireError, which names the message, if its content cannot be encoded.
    """
    document = _Document(
        _Header(
            message.id,
            message.parent_id,
            message.timestamp,
            message.resource_version,
            message.sync,
            message.type,
        ),
        _Route(
            message.source,
            message.destination,
            message.group,
            message.operation,
            message.resource,
        ),
        message.content,
    )
    try:
        return (gojson.dumps(document) + b"\n",)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(
            f"message {message.id} ({message.operation} {message.resource}) "
            f"cannot be written as JSON: {error}"
        ) from error


class Decoder:
    """The decoder of one connection: each websocket message is a whole message."""

    def __init__(self, max_message: int = DEFAULT_MAX_MESSAGE) -> None:
        self._max_message = max_message

    def feed(self, data: bytes | bytearray) -> list[Message]:
        """Decode the next websocket message, binary or text; raises WireError if it is invalid."""
        if not data:
            return []
        if len(data) > self._max_message:
            raise WireError(f"a message of {len(data)} bytes, more than {self._max_message}")
        try:
            return [self._message(_valid_utf8(data))]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"{len(data)} bytes that are no message in JSON: {error}") from error

    def _message(self, data: bytes | bytearray) -> Message:
        document = _decoded(_decode_document, data)
        return _message(document.header, document.route, document.content)


class EnvelopeDecoder(Decoder):
    """A decoder that leaves the content of messages encoded, for who passes them on.

    The content is a str for a JSON string, None for null, and otherwise the bytes of the JSON text:
    it takes no more memory than it has on the wire, and numbers stay as they were written.
    """

    def _message(self, data: bytes | bytearray) -> Message:
        envelope = _decoded(_decode_envelope, data)
        text = bytes(envelope.content)
        plain = text.startswith(b'"') or text == b"null"
        return _message(envelope.header, envelope.route, _decode_content(text) if plain else text)


def content_of(message: Message) -> Any:
    """Return the whole content of a message of EnvelopeDecoder; raises msgspec.DecodeError."""
    content = message.content
    return _decode_content(content) if isinstance(content, bytes) else content


def _message(header: _Header, route: _Route, content: Any) -> Message:
    return Message(
        header.id,
        header.parent_id,
        header.timestamp,
        header.sync,
        route.source,
        route.group,
        route.operation,
        route.resource,
        content,
        resource_version=header.resource_version,
        type=header.type,
        destination=route.destination,
    )


def _decoded(decode: Callable[[bytes | bytearray], Any], data: bytes | bytearray) -> Any:
    """Decode; a surrogate without its other half becomes U+FFFD, as in encoding/json."""
    try:
        return decode(data)
    except msgspec.DecodeError:
        mended = _ESCAPE.sub(lambda found: found[1] or found[2] or rb"\ufffd", data)
        if mended == data:
            raise
        return decode(mended)


def _valid_utf8(data: bytes | bytearray) -> bytes | bytearray:
    """Return the data with U+FFFD for each byte that is no UTF-8, as encoding/json reads it."""
    if data.isascii():
        return data
    try:
        data.decode()
    except UnicodeDecodeError:
        return data.decode(errors=_REPLACING).encode()
    return data


def _replace_bytes(error: UnicodeError) -> tuple[str, int]:
    """Replace each byte; the handler `replace` replaces the start of a character as a whole."""
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


_REPLACING: Final = "cloudcore.replace-bytes"
codecs.register_error(_REPLACING, _replace_bytes)

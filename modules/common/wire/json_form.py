"""The JSON format: one message is one JSON document.

Edges of KubeEdge v1.2 and later use it over a websocket, and the CSI driver of v1.1 over a Unix
socket (vendor/github.com/kubeedge/beehive/pkg/core/model/message.go):

    {"header": {"msg_id", "parent_msg_id", "timestamp", "resourceversion", "sync", "type"},
     "route": {"source", "destination", "group", "operation", "resource"}, "content": …}

Odd input is read as encoding/json reads it: unknown fields are ignored, null is no value, and what
is no Unicode becomes U+FFFD. Two things are simpler here, as no edge writes them: field names are
matched in their own case only, and of a field that occurs twice the last one counts as a whole.
"""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Any, Final

import msgspec

from ipc import Message
from modules.common.wire import gojson
from modules.common.wire.errors import WireError

DEFAULT_MAX_MESSAGE: Final = 16 * 1024 * 1024


#: Go's int64.
_Timestamp = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Header(msgspec.Struct, omit_defaults=True):
    # Fields with a default factory are optional in received messages, and always written.
    id: str | None = msgspec.field(name="msg_id", default_factory=str)
    parent_id: str | None = msgspec.field(name="parent_msg_id", default="")
    timestamp: _Timestamp | None = msgspec.field(default_factory=int)
    resource_version: str | None = msgspec.field(name="resourceversion", default="")
    sync: bool | None = False
    type: str | None = ""


class _Route(msgspec.Struct, omit_defaults=True):
    source: str | None = ""
    destination: str | None = ""
    group: str | None = ""
    operation: str | None = ""
    resource: str | None = ""


class _Document(msgspec.Struct):
    header: _Header | None = None
    route: _Route | None = None
    content: Any = None


class _Envelope(msgspec.Struct):
    """A document whose content is not decoded."""

    header: _Header | None = None
    route: _Route | None = None
    content: msgspec.Raw = msgspec.Raw(b"null")


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_content = msgspec.json.decode

_NO_HEADER: Final = _Header()
_NO_ROUTE: Final = _Route()

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
        return (gojson.dumps(document, short_escapes=True) + b"\n",)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(
            f"message {message.id} ({message.operation} {message.resource}) "
            f"cannot be written as JSON: {error}"
        ) from error


class Decoder:
    """The decoder of one connection: each websocket message is a whole message."""

    __slots__ = ("_max_message",)

    def __init__(self, max_message: int = DEFAULT_MAX_MESSAGE) -> None:
        self._max_message = max_message

    def feed(self, data: bytes | bytearray) -> list[Message]:
        """Decode the next websocket message, binary or text; raises WireError if it is invalid."""
        if not data:
            return []
        if len(data) > self._max_message:
            raise WireError(f"a message of {len(data)} bytes, more than {self._max_message}")
        try:
            return [self._message(_valid_escapes(_valid_utf8(data)))]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"{len(data)} bytes that are no message in JSON: {error}") from error

    def _message(self, data: bytes | bytearray) -> Message:
        document = _decode_document(data)
        return _message(document.header, document.route, document.content)


class EnvelopeDecoder(Decoder):
    """A decoder that leaves the content of messages encoded, for who passes them on.

    The content is a str for a JSON string, None for null, and otherwise the bytes of the JSON text:
    it takes no more memory than it has on the wire, and numbers stay as they were written.
    """

    __slots__ = ()

    def _message(self, data: bytes | bytearray) -> Message:
        envelope = _decode_envelope(data)
        text = bytes(envelope.content)
        plain = text.startswith(b'"') or text == b"null"
        return _message(envelope.header, envelope.route, _decode_content(text) if plain else text)


def _message(header: _Header | None, route: _Route | None, content: Any) -> Message:
    header, route = header or _NO_HEADER, route or _NO_ROUTE
    return Message(
        header.id or "",
        header.parent_id or "",
        header.timestamp or 0,
        header.sync or False,
        route.source or "",
        route.group or "",
        route.operation or "",
        route.resource or "",
        content,
        resource_version=header.resource_version or "",
        type=header.type or "",
        destination=route.destination or "",
    )


def _valid_escapes(data: bytes | bytearray) -> bytes | bytearray:
    """Return the data with U+FFFD for each escaped surrogate that has no other half."""
    if b"\\ud" not in data and b"\\uD" not in data:
        return data
    return _ESCAPE.sub(lambda found: found[1] or found[2] or rb"\ufffd", data)


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

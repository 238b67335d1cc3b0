"""The JSON format: one message is one JSON document.

Edges of KubeEdge v1.2 and later use it over a websocket, and the CSI driver of v1.1 over a Unix
socket (vendor/github.com/kubeedge/beehive/pkg/core/model/message.go):

    {"header": {"msg_id", "parent_msg_id", "timestamp", "sync"},
     "route": {"source", "group", "operation", "resource"}, "content": …}

Unknown fields are ignored, as in encoding/json; bytes as content are base64.
"""

from __future__ import annotations

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
    sync: bool = False


class _Route(msgspec.Struct, omit_defaults=True):
    source: str = ""
    group: str = ""
    operation: str = ""
    resource: str = ""


class _Document(msgspec.Struct):
    header: _Header = msgspec.field(default_factory=_Header)
    route: _Route = msgspec.field(default_factory=_Route)
    content: Any = None


_decode = msgspec.json.Decoder(_Document).decode


def encode(message: Message) -> tuple[bytes]:
    """Encode a message into its one websocket message, which ends with a newline as in Go.

    Raises WireError, which names the message, if its content cannot be encoded.
    """
    document = _Document(
        _Header(message.id, message.parent_id, message.timestamp, message.sync),
        _Route(message.source, message.group, message.operation, message.resource),
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

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Decode the next websocket message, binary or text; raises WireError if it is invalid."""
        if not data:
            return []
        if len(data) > self._max_message:
            raise WireError(f"a message of {len(data)} bytes, more than {self._max_message}")
        try:
            document = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"{len(data)} bytes that are no message in JSON: {error}") from error
        header, route = document.header, document.route
        return [
            Message(
                header.id,
                header.parent_id,
                header.timestamp,
                header.sync,
                route.source,
                route.group,
                route.operation,
                route.resource,
                document.content,
            )
        ]

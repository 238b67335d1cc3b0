"""Requests of CSI drivers: read from a connection, and checked before an edge is asked."""

from __future__ import annotations

import asyncio
from typing import Final

from ipc import Message
from modules.common.message_resource import BadResource, ObjectResource, parse
from modules.common.wire import WireError, json_form

#: Bytes of a request; a driver of Go's could send 10480 at most, which is what its cloud reads.
LONGEST_REQUEST: Final = 1024 * 1024

#: What edges do (CSIOperationType* in common/constants/default.go).
_OPERATIONS: Final = (
    "createvolume",
    "deletevolume",
    "controllerpublishvolume",
    "controllerunpublishvolume",
)
_VOLUME: Final = "volume"
_PIECE: Final = 64 * 1024
#: Attempts to decode a message that arrives in pieces, each of which ends as a message may.
_MOST_ATTEMPTS: Final = 16
#: What the decoder says of a message that is not complete.
_INCOMPLETE: Final = "truncated"


class BadRequest(Exception):
    """A request that no edge could carry out; the text says why."""


async def read(reader: asyncio.StreamReader) -> Message | None:
    """Read one message; None if the driver disconnects before it sends anything.

    A driver keeps the connection open: its message ends where its JSON does. Raises WireError if
    what it sends is no message, or so cut into pieces that looking for its end takes too long.
    """
    data = bytearray()
    decoder = json_form.Decoder(LONGEST_REQUEST)
    attempts = 0
    while piece := await reader.read(_PIECE):
        data += piece
        if len(data) <= LONGEST_REQUEST and not piece.rstrip().endswith(b"}"):
            continue
        try:
            return decoder.feed(data)[0]
        except WireError as error:
            attempts += 1
            if _INCOMPLETE not in str(error) or attempts == _MOST_ATTEMPTS:
                raise
    return decoder.feed(data)[0] if data else None


def check(request: Message) -> ObjectResource:
    """Return the node and the volume that a request is about; raises BadRequest if none.

    An edge answers no other request, and is busy with one for a minute.
    """
    if request.operation not in _OPERATIONS:
        raise BadRequest(
            f"operation {request.operation!r} is none of a CSI driver ({', '.join(_OPERATIONS)})"
        )
    try:
        about = parse(request.resource)
    except BadResource as error:
        raise BadRequest(str(error)) from error
    if about.type != _VOLUME or not about.name or "/" in about.name:
        raise BadRequest(
            f"resource {request.resource!r} is not node/{{node}}/{{namespace}}/volume/{{volume}}"
        )
    return about

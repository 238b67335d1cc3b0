"""One HTTP/1.1 connection: a request in, an answer or a stream out.

h11 implements the protocol and asyncio the connection: there is no thread and no framework, so
that the supervisor stays a small process to fork from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import h11

from supervisor.telemetry.escaping import to_json

log = logging.getLogger(__name__)

JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"
TEXT: Final = "text/plain; charset=utf-8"

#: Seconds for a request to arrive, and for the client to accept a piece of the answer.
TIMEOUT: Final = 10.0
_LARGEST_BODY: Final = 64 * 1024


@dataclass(frozen=True)
class Request:
    """A request; `trusted` tells whether the client may control modules and read logs.

    `path` is percent-encoded as received, so that an encoded slash does not separate names.
    """

    method: str
    path: str
    query: Mapping[str, str]
    trusted: bool
    names: Mapping[str, str] = field(default_factory=dict)
    """the named parts of the path, by the names that its route has for them"""
    gone: Callable[[], bool] = lambda: False
    """whether the client has closed the connection: nobody reads the answer then"""


@dataclass(frozen=True)
class Answer:
    """An answer: a JSON-like body or msgspec structure, a text, or bytes of the given type."""

    body: Any
    status: HTTPStatus = HTTPStatus.OK
    type: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def encoded(self) -> tuple[str, bytes]:
        """Return the content type, and the body's bytes."""
        match self.body:
            case bytes():
                return self.type, self.body
            case str():
                return self.type or TEXT, self.body.encode("utf-8", "backslashreplace")
        return JSON, to_json(self.body) + b"\n"


@dataclass(frozen=True)
class Stream:
    """An answer of unknown length, sent in pieces; `close` is always called at the end."""

    pieces: AsyncIterator[bytes]
    type: str
    close: Callable[[], None]


class HttpError(Exception):
    """An error that becomes an answer with this status, and with the text as its `error`."""

    def __init__(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.answer = Answer({"error": text}, status, headers=headers)


Respond = Callable[[Request], Awaitable[Answer | Stream]]
IsTrusted = Callable[[Mapping[str, str]], bool]
"""whether the client is trusted, from the request's headers by lower-case name"""


async def serve_one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    respond: Respond,
    is_trusted: IsTrusted,
) -> None:
    """Answer one request; the caller then closes the connection."""
    connection = h11.Connection(h11.SERVER)
    asked: h11.Request | None = None
    try:
        try:
            async with asyncio.timeout(TIMEOUT):
                asked = await _read_head(connection, reader)
                if asked is None:
                    return
                await _read_body(connection, reader, writer)
        except TimeoutError:
            text = f"no complete request within {TIMEOUT:g} s"
            raise HttpError(HTTPStatus.REQUEST_TIMEOUT, text) from None
        answer = await respond(_understood(asked, is_trusted, reader.at_eof))
    except h11.RemoteProtocolError as error:
        answer = Answer({"error": str(error)}, HTTPStatus(error.error_status_hint))
    except HttpError as error:
        answer = error.answer
    except ConnectionError:
        raise
    except Exception as error:
        log.exception("a bug in the supervisor: an admin request failed")
        text = f"a bug in the supervisor: {type(error).__name__}: {error}"
        answer = Answer({"error": text}, HTTPStatus.INTERNAL_SERVER_ERROR)
    head_only = asked is not None and asked.method == b"HEAD"
    if isinstance(answer, Stream):
        try:
            await _stream(connection, answer, reader, writer, head_only=head_only)
        finally:
            answer.close()
        return
    kind, body = answer.encoded()
    length = ("Content-Length", str(len(body)))
    await _begin(connection, writer, answer.status, kind, length, *answer.headers)
    data = () if head_only else (h11.Data(data=body),)
    await _send(connection, writer, *data, h11.EndOfMessage())


async def _read_head(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> h11.Request | None:
    """Read a request up to its body; return None if the client closed the connection before."""
    event = await _next(connection, reader)
    return event if isinstance(event, h11.Request) else None


async def _read_body(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Read and discard the request body; no endpoint takes one."""
    if connection.they_are_waiting_for_100_continue:
        await _send(
            connection,
            writer,
            h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"),
        )
    size = 0
    while isinstance(event := await _next(connection, reader), h11.Data):
        size += len(event.data)
        if size > _LARGEST_BODY:
            text = f"the request body has more than {_LARGEST_BODY} bytes; no request needs one"
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(65536))
    assert isinstance(event, h11.Event)
    return event


def _understood(request: h11.Request, is_trusted: IsTrusted, gone: Callable[[], bool]) -> Request:
    try:
        target = urlsplit(request.target.decode("ascii"))
    except ValueError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"bad request target: {error}") from error
    headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    trusted = is_trusted(headers)
    return Request(request.method.decode(), target.path, query, trusted, gone=gone)


async def _stream(
    connection: h11.Connection,
    stream: Stream,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    head_only: bool,
) -> None:
    """Send pieces until there are no more, or until the client closes the connection."""
    await _begin(connection, writer, HTTPStatus.OK, stream.type, ("Transfer-Encoding", "chunked"))
    if head_only:
        await _send(connection, writer, h11.EndOfMessage())
        return
    gone = asyncio.create_task(reader.read(1))
    sending = asyncio.create_task(_send_pieces(connection, stream, writer))
    try:
        await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        gone.cancel()
        sending.cancel()
        await asyncio.gather(gone, sending, return_exceptions=True)


async def _send_pieces(
    connection: h11.Connection, stream: Stream, writer: asyncio.StreamWriter
) -> None:
    async for piece in stream.pieces:
        await _send(connection, writer, h11.Data(data=piece))
    await _send(connection, writer, h11.EndOfMessage())


async def _begin(
    connection: h11.Connection,
    writer: asyncio.StreamWriter,
    status: HTTPStatus,
    kind: str,
    *more: tuple[str, str],
) -> None:
    headers = [("Content-Type", kind), ("Connection", "close"), *more]
    await _send(
        connection,
        writer,
        h11.Response(status_code=status, headers=headers, reason=status.phrase),
    )


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, *events: h11.Event
) -> None:
    for event in events:
        writer.write(connection.send(event) or b"")
    async with asyncio.timeout(TIMEOUT):
        await writer.drain()

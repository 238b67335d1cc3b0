"""One request and its answer over HTTP/1.1, with h11, as on the other small servers of this module.

Each connection has one request. Its body is read only when a route asks for it, so that a client
without the right to send one costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import h11

from modules.common.pki.certificates import NODE_PREFIX, NODES_GROUP

#: Bytes of the request line and all headers.
_MOST_HEADERS: Final = 16 * 1024
_PIECE: Final = 64 * 1024
#: After an answer before the end of a body: the bytes and seconds for which the rest is read, so
#: that the client sees the answer and not a reset.
_LINGER_BYTES: Final = 4 * 1024 * 1024
_LINGER: Final = 1.0


class RequestRefused(Exception):
    """A request is not granted; the text is the body of the answer."""

    def __init__(self, status: HTTPStatus, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Answer:
    """A status, a body and its type."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class Exchange:
    """The connection of one client, whose request line and headers have been read."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        self.address = address
        """IP address of the client"""
        self.method = ""
        self.path = ""
        self._headers: list[tuple[bytes, bytes]] = []
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEADERS)

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The client's certificate, verified, as of ssl.SSLSocket.getpeercert; empty if none."""
        return self._writer.get_extra_info("peercert") or {}

    @property
    def node(self) -> str:
        """The node whose certificate the client shows; empty if it shows none of a node."""
        subject: dict[str, list[str]] = {}
        for relative in self.certificate.get("subject", ()):
            for key, value in relative:
                subject.setdefault(key, []).append(value)
        if subject.get("organizationName") != [NODES_GROUP]:
            return ""
        match subject.get("commonName"):
            case [name] if name.startswith(NODE_PREFIX):
                return name.removeprefix(NODE_PREFIX)
        return ""

    async def read_head(self) -> bool:
        """Read the request line and the headers; False if the client closes before.

        Raises RequestRefused for what is not HTTP.
        """
        try:
            event = await self._next()
        except h11.RemoteProtocolError as error:
            raise RequestRefused(HTTPStatus(error.error_status_hint), _fault(error)) from error
        if not isinstance(event, h11.Request):
            return False
        self.method = event.method.decode()
        self.path = event.target.decode("ascii").partition("?")[0]
        self._headers = list(event.headers)
        return True

    def header(self, name: str) -> str:
        """Return a header, empty if there is none; raises RequestRefused if it is there twice."""
        key = name.lower().encode()
        values = [value for each, value in self._headers if each == key]
        if len(values) > 1:
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST, f"the header {name} is there {len(values)} times"
            )
        return values[0].decode("latin-1") if values else ""

    async def read_body(self, most: int) -> bytes:
        """Read the body; raises RequestRefused if it has more than `most` bytes, or is cut off."""
        body = bytearray()
        too_long = RequestRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {most} bytes"
        )
        length = self.header("Content-Length")
        if length.isdigit() and (len(length) > len(str(most)) or int(length) > most):
            raise too_long
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        try:
            while True:
                event = await self._next()
                if isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                if not isinstance(event, h11.Data):
                    raise RequestRefused(HTTPStatus.BAD_REQUEST, "the body is cut off")
                body += event.data
                if len(body) > most:
                    raise too_long
        except h11.RemoteProtocolError as error:
            reason = f"the body cannot be read: {_fault(error)}"
            raise RequestRefused(HTTPStatus.BAD_REQUEST, reason) from error

    async def answer(self, answer: Answer) -> None:
        """Send the answer, and let the client finish what it is sending."""
        headers = {
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Connection": "close",
            **answer.headers,
        }
        reason = answer.status.phrase
        head = h11.Response(status_code=answer.status, headers=list(headers.items()), reason=reason)
        body = b"" if self.method == "HEAD" else answer.body
        await self._send(head, h11.Data(data=body), h11.EndOfMessage())
        if self._http.their_state in {h11.SEND_BODY, h11.ERROR}:
            await self._linger()

    async def _linger(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()
        left = _LINGER_BYTES
        try:
            async with asyncio.timeout(_LINGER):
                while left > 0 and (data := await self._reader.read(_PIECE)):
                    left -= len(data)
        except TimeoutError:
            return

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            self._http.receive_data(await self._reader.read(_PIECE))

    async def _send(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()


def _fault(error: h11.RemoteProtocolError) -> str:
    """Return what is wrong without the line that h11 quotes, in which a token may be."""
    return str(error).partition(": ")[0]

"""Serves the sessions of this process on a Unix socket, for `cloudcore nodes` and the dashboard.

HTTP with h11, as on the supervisor's admin socket: a web framework would add a fifth to the memory
of this process and to its restart time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import h11
import msgspec

from modules.cloudhub.session.session import Session
from modules.cloudhub.unix_server import UnixServer

#: Seconds for reading the request, and for writing each part of the answer.
_TIMEOUT: Final = 10.0
#: Rows per part of the answer; the event loop serves edges between two parts.
_ROWS: Final = 200

log = logging.getLogger(__name__)

Body = AsyncIterator[bytes]
Others = Callable[[], Awaitable[list[dict[str, Any]]]]

SOCKET_SUFFIX: Final = ".sock"


def socket_of(run_dir: Path, unit: str) -> Path:
    """Return the path of the socket of a unit's process."""
    return run_dir / f"{unit}{SOCKET_SUFFIX}"


class NodesServer(UnixServer):
    """Answers `GET /nodes` with a JSON list, one object for each session (see `_row`).

    And `POST /join` with a line to type on a new edge node, if `join` makes one: in a thread, as it
    reads and writes files. `GET /replicas` with what the other replicas answer: `others` asks them.
    """

    def __init__(
        self,
        path: Path,
        process: str,
        sessions: Mapping[str, Session],
        join: Callable[[], dict[str, Any]] | None = None,
        *,
        replica: str = "",
        others: Others | None = None,
    ) -> None:
        """`replica` is this one's name, if there are several, and `others` asks the others."""
        super().__init__(path, self._answer)
        self._replica = replica
        self._others = others
        self._join = join
        self._process = process
        self._sessions = sessions

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            async with asyncio.timeout(_TIMEOUT):
                asked = await _request(connection, reader)
        except h11.RemoteProtocolError as error:
            status, body = HTTPStatus(error.error_status_hint), _once({"error": str(error)})
        else:
            if asked is None:
                return
            if asked == "GET /nodes":
                status, body = HTTPStatus.OK, self._table()
            elif asked == "POST /join" and self._join:
                status, body = await self._made(self._join)
            elif asked == "GET /replicas":
                found = await self._others() if self._others else []
                status, body = HTTPStatus.OK, _once(found)
            else:
                status, body = (
                    HTTPStatus.NOT_FOUND,
                    _once({"error": f"no such path: {asked} (use GET /nodes)"}),
                )
        headers = [("Content-Type", "application/json"), ("Connection", "close")]
        head = h11.Response(status_code=status, headers=headers, reason=status.phrase)
        writer.write(connection.send(head) or b"")
        async for part in body:
            writer.write(connection.send(h11.Data(data=part)) or b"")
            async with asyncio.timeout(_TIMEOUT):
                await writer.drain()
            await asyncio.sleep(0)  # drain does not yield if the socket accepted everything
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        async with asyncio.timeout(_TIMEOUT):
            await writer.drain()

    async def _made(self, join: Callable[[], dict[str, Any]]) -> tuple[HTTPStatus, Body]:
        try:
            return HTTPStatus.OK, _once(await asyncio.to_thread(join))
        except (ValueError, OSError) as error:
            return HTTPStatus.CONFLICT, _once({"error": str(error)})

    async def _table(self) -> AsyncIterator[bytes]:
        sessions = list(self._sessions.values())
        yield b"["
        for start in range(0, len(sessions), _ROWS):
            part = [self._row(each) for each in sessions[start : start + _ROWS]]
            yield (b"," if start else b"") + msgspec.json.encode(part)[1:-1]
        yield b"]"

    def _row(self, session: Session) -> dict[str, Any]:
        """Return a session as JSON; `since` and `keepalive` (the last one) in epoch seconds."""
        epoch = time.time() - asyncio.get_running_loop().time()
        return {
            "node": session.node,
            "since": round(epoch + session.since, 3),
            "address": session.address,
            "certificate": {
                "common_name": session.identity.common_name,
                "expires": session.identity.expires,
            },
            "protocol": session.generation.form if session.generation else "",
            "messages_in": session.messages_in,
            "messages_out": session.messages_out,
            "queue_messages": len(session.queue),
            "queue_bytes": session.queue.bytes,
            "keepalive": round(epoch + session.last_keepalive, 3),
            "process": self._process,
            "replica": self._replica,
        }


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> str | None:
    """Return method and path of a request; None if the client has disconnected."""
    asked = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            asked = f"{event.method.decode()} {event.target.decode('ascii').partition('?')[0]}"
        elif isinstance(event, h11.EndOfMessage):
            return asked
        elif isinstance(event, h11.ConnectionClosed):
            return None


async def _once(document: Any) -> AsyncIterator[bytes]:
    yield msgspec.json.encode(document)


async def read_rows(run_dir: Path, units: Sequence[str]) -> bytes:
    """Return the rows of all processes as one JSON list; one that is restarting has none."""
    rows: list[msgspec.Raw] = []
    for unit in units:
        try:
            async with asyncio.timeout(_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(socket_of(run_dir, unit))
                try:
                    rows += await _read_rows(reader, writer)
                finally:
                    writer.close()
        except (OSError, h11.RemoteProtocolError, msgspec.MsgspecError) as error:
            log.debug("process %s does not say its nodes: %s", unit, error)
    return msgspec.json.encode(rows)


async def _read_rows(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> list[msgspec.Raw]:
    connection = h11.Connection(h11.CLIENT)
    asked = h11.Request(method="GET", target="/nodes", headers=[("Host", "localhost")])
    writer.write((connection.send(asked) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return msgspec.json.decode(body, type=list[msgspec.Raw])
        elif isinstance(event, h11.ConnectionClosed):
            return []

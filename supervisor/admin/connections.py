"""The connections of one listener of the admin interface: limited in number, one request each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from supervisor.admin.http import TIMEOUT, Answer, IsTrusted, Request, Respond, Stream, serve_one

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
#: Seconds that the request of a connection above the limit has to arrive.
_MOMENT: Final = 1.0
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Too Many Connections\r\nContent-Type: application/json\r\n"
    b'Connection: close\r\n\r\n{"error":"too many connections are open"}\n'
)


class Connections:
    """The open connections of one listener.

    A client that connects and sends no request cannot keep others out: at the limit the oldest
    such connection is closed.
    """

    def __init__(self, respond: Respond, is_trusted: IsTrusted) -> None:
        self._respond = respond
        self._is_trusted = is_trusted
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}
        """connections whose request has not arrived, the oldest first"""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it is closed."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if len(self._tasks) <= MAX_CONNECTIONS or self._make_room():
                await self._serve(reader, writer)
            else:
                await _refuse(reader, writer)
            writer.close()
            async with asyncio.timeout(TIMEOUT):
                await writer.wait_closed()
        except (TimeoutError, ConnectionError):
            log.debug("the client of an admin connection closed it early")
        finally:
            writer.transport.abort()

    async def close(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the answers under way, and cut off the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def respond(request: Request) -> Answer | Stream:
            self._silent.pop(writer, None)
            return await self._respond(request)

        self._silent[writer] = None
        try:
            await serve_one(reader, writer, respond, self._is_trusted)
        finally:
            self._silent.pop(writer, None)

    def _make_room(self) -> bool:
        oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        del self._silent[oldest]
        oldest.transport.abort()
        return True


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(TimeoutError):  # closing with unread input would be a reset
        async with asyncio.timeout(_MOMENT):
            await reader.read(65536)
    writer.write(_TOO_MANY)

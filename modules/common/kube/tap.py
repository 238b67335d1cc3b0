"""The body of a watch's response, passed to a callback where it is read from the socket.

The usual way with aiohttp is a task that is woken for each chunk. That takes as long as all other
work on an event of a watch until its message is sent to an edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from modules.common.http_library import aiohttp


class BrokenOff(Exception):
    """The body ended before it was complete."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Tap(asyncio.Protocol):
    """A wrapper around the protocol of a response's connection, which continues to work."""

    def __init__(self, response: aiohttp.ClientResponse, on_piece: Callable[[bytes], None]) -> None:
        """Set up; `on_piece` is called with each chunk, in callbacks of the event loop."""
        self._content = response.content
        self._on_piece = on_piece
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A response that is complete already has no connection.
        self._transport = response.connection and response.connection.transport
        if self._transport:
            self._behind = cast(asyncio.Protocol, self._transport.get_protocol())
            self._transport.set_protocol(self)

    async def run(self) -> None:
        """Run until the body is complete; raises BrokenOff, or the exception of `on_piece`."""
        try:
            self._hand_on()
            await self._over
        finally:
            if self._transport:
                self._transport.set_protocol(self._behind)

    def break_off(self, cause: Exception) -> None:
        """Make `run` raise BrokenOff, if it is still running."""
        self._fail(BrokenOff(cause))

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        self._behind.data_received(data)
        self._hand_on()

    def eof_received(self) -> bool | None:
        return self._behind.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._behind.connection_lost(error)
        self._hand_on()

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    def _hand_on(self) -> None:
        if self._over.done():
            return
        try:
            while piece := self._read():
                self._on_piece(piece)
        except Exception as error:
            self._fail(error)
        else:
            if self._content.at_eof():
                self._over.set_result(None)

    def _read(self) -> bytes:
        try:
            return self._content.read_nowait()
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenOff(error) from error

    def _fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

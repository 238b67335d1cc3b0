"""The listening socket's server: connections are limited in number and in silence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Final

from modules.common.http_library import Handler, Middleware, aiohttp, web

#: Connections at most, and seconds in which a connection has to send its first request.
CONNECTIONS: Final = 256
REQUEST_TIMEOUT: Final = 10.0
_KEEPALIVE: Final = 30.0
#: Seconds in which a client has to take some of what it is sent.
UNREAD_TIMEOUT: Final = 20.0
#: Bytes of a request line or a header, and headers of a request.
_LONGEST: Final = 4096
_HEADERS: Final = 64

#: What aiohttp raises for a malformed request.
_Malformed: Final = aiohttp.http_exceptions.HttpProcessingError

log = logging.getLogger(__name__)


class _Busy(asyncio.Protocol):
    """Closes a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@contextlib.asynccontextmanager
async def serving(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve until the block ends; streams are closed then."""
    # The kernel closes a connection whose other end takes nothing; its sockets inherit this. An
    # answer would wait for that end for ever, and keep its place among the connections.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_TIMEOUT * 1000))
    silent: set[asyncio.BaseProtocol] = set()
    app.middlewares.insert(0, _noting(silent))
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=log,
        keepalive_timeout=_KEEPALIVE,
        max_line_size=_LONGEST,
        max_field_size=_LONGEST,
        max_headers=_HEADERS,
        shutdown_timeout=0.5,
        handler_cancellation=True,
    )
    await runner.setup()
    protocols = runner.server
    assert protocols is not None
    loop = asyncio.get_running_loop()

    def close_if_silent(protocol: web.RequestHandler) -> None:
        if protocol in silent:
            silent.discard(protocol)
            protocol.force_close()

    def accept() -> asyncio.Protocol:
        if len(protocols.connections) >= CONNECTIONS:
            return _Busy()
        protocol = protocols()
        silent.add(protocol)
        loop.call_later(REQUEST_TIMEOUT, close_if_silent, protocol)
        return protocol

    server = await loop.create_server(accept, sock=listener)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record is not of a malformed request: its sender has been told."""
    return not (record.exc_info and isinstance(record.exc_info[1], _Malformed))


log.addFilter(_is_ours)


def _noting(silent: set[asyncio.BaseProtocol]) -> Middleware:
    """Return the middleware that notes that a connection has sent a request."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        silent.discard(request.protocol)
        return await handler(request)

    return middleware

"""The HTTPS server: accepts connections, and gives each a limited time for its one request."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from typing import Final

from modules.cloudhub.endpoint.tls import ServerTls, handshake_failure
from modules.cloudhub.joining.exchange import Exchange, RequestRefused
from modules.cloudhub.joining.routes import Routes
from modules.common.failure_log import FailureLog

log = logging.getLogger(__name__)

#: Connections that are served at once; others wait in the listen backlog.
_AT_ONCE: Final = 128
#: Seconds that a connection has for itself even when others wait.
_PATIENCE: Final = 3.0
#: Seconds for a whole request and its answer, and for the TLS handshake before it.
_TIMEOUT: Final = 15.0
_HANDSHAKE: Final = 10.0
_SHUTDOWN: Final = 1.0
#: Seconds until the next attempt to accept after the process ran out of descriptors or memory.
_ACCEPT_PAUSE: Final = 1.0
#: Bytes that a connection may have sent ahead of what is read.
_READ_AHEAD: Final = 32 * 1024


class JoiningServer:
    """Serves the routes on a listening, non-blocking socket, which stays the supervisor's."""

    def __init__(self, listener: socket.socket, tls: ServerTls, routes: Routes) -> None:
        self._listener = listener
        self._tls = tls
        self._routes = routes
        self._loop = asyncio.get_running_loop()
        self._connections: dict[asyncio.Task[None], float] = {}  # with their start
        self._over = asyncio.Event()
        self._failures = FailureLog(log, logging.ERROR)

    async def run(self) -> None:
        """Serve until cancelled; the requests in progress are cancelled, too."""
        # Connections without data stay in the kernel.
        self._listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, math.ceil(_HANDSHAKE)
        )
        address, port = self._listener.getsockname()[:2]
        log.info("listening for edges that join on %s port %d", address, port)
        try:
            while True:
                await self._room()
                try:
                    connection, peer = await self._loop.sock_accept(self._listener)
                except ConnectionAbortedError:
                    continue
                except OSError as error:
                    text = f"cannot accept connections for joining: {error}; retrying every second"
                    self._failures.failed("accept", str(error), text)
                    await asyncio.sleep(_ACCEPT_PAUSE)
                    continue
                self._failures.worked("accept", "connections for joining are accepted again")
                task = self._loop.create_task(self._serve(connection, peer[0]))
                self._connections[task] = self._loop.time()
                task.add_done_callback(self._done)
        finally:
            for task in list(self._connections):
                task.cancel()
            if self._connections:
                await asyncio.wait(list(self._connections))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task, None)
        self._over.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("cannot serve a connection for joining", exc_info=error)

    async def _room(self) -> None:
        """Wait until another connection can be served; the oldest ends when its time is up."""
        while len(self._connections) >= _AT_ONCE:
            oldest, began = next(iter(self._connections.items()))
            patience = began + _PATIENCE - self._loop.time()
            if patience <= 0:
                del self._connections[oldest]
                oldest.cancel()
                return
            self._over.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._over.wait()
            except TimeoutError:
                continue

    async def _serve(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        reader = asyncio.StreamReader(limit=_READ_AHEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls.joining_context,
                ssl_handshake_timeout=_HANDSHAKE,
                ssl_shutdown_timeout=_SHUTDOWN,
            )
        except OSError as error:
            self._routes.handshake_failed(address, handshake_failure(error))
            return
        except asyncio.CancelledError:
            connection.close()
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._exchange(Exchange(reader, writer, address))
        except (TimeoutError, ConnectionError):
            log.debug("%s: no whole request, or the answer was not read", address)
            transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise
        finally:
            writer.close()

    async def _exchange(self, exchange: Exchange) -> None:
        try:
            if not await exchange.read_head():
                return
        except RequestRefused as refused:
            await exchange.answer(self._routes.refusal(exchange.address, refused))
            return
        await exchange.answer(await self._routes.answer(exchange))

"""The port at which a replica answers the others: questions to its nodes, and which it holds.

Only who shows a certificate of the replicas' CA gets past the TLS handshake. Handshakes at once and
connections are limited, and each question has the time that its sender gives it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import TracebackType
from typing import Final, Protocol, Self

from ipc import Message
from ipc.background import keep_running
from ipc.errors import NotAMessage
from ipc.message import decode, encode
from modules.cloudhub.endpoint.tls import handshake_failure
from modules.cloudhub.questions import ANSWER, NoAnswer
from modules.cloudhub.replicas.credentials import Credentials
from modules.common.failure_log import FailureLog
from modules.common.http_library import web
from modules.common.message_resource import BadResource, node_of

#: Connections of replicas, of which each question has its own.
CONNECTIONS: Final = 512
#: TLS handshakes at once, and seconds for one.
_HANDSHAKES: Final = 32
_HANDSHAKE: Final = 5.0
_SHUTDOWN: Final = 1.0
#: Seconds until the next attempt to accept after the process ran out of descriptors or memory.
_ACCEPT_PAUSE: Final = 1.0
#: Bytes of a question; one of a CSI driver has at most one MiB.
_LONGEST: Final = 2 * 1024 * 1024
_GROUP: Final = "resource"
#: Seconds between two certificates.
_RENEWAL: Final = 24 * 3600.0

log = logging.getLogger(__name__)


class Asked(Protocol):
    """What asks the nodes of this replica (questions.py)."""

    async def ask_here(self, node: str, question: Message, seconds: float) -> Message:
        """Return a node's answer; raises NoAnswer."""


class PeerServer:
    """Serves other replicas on a listening socket; an async context manager."""

    def __init__(
        self,
        listener: socket.socket,
        credentials: Credentials,
        replica: str,
        questions: Asked,
        nodes: Callable[[], Awaitable[bytes]],
    ) -> None:
        """`nodes` returns the table of all nodes that this replica holds, as JSON."""
        self._listener = listener
        self._credentials = credentials
        self._replica = replica
        self._questions = questions
        self._nodes = nodes
        self._room = asyncio.Semaphore(_HANDSHAKES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = FailureLog(log)
        application = web.Application(client_max_size=_LONGEST)
        application.router.add_get("/healthz", self._healthy)
        application.router.add_get("/nodes", self._table)
        application.router.add_post("/question", self._question)
        # A question ends with its sender's patience.
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        # Connections without data stay in the kernel.
        self._listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, math.ceil(_HANDSHAKE)
        )
        self._begin(keep_running("the port for other replicas", self._accept))
        self._begin(keep_running("the renewal of the replicas' certificate", self._renew))
        address, port = self._listener.getsockname()[:2]
        log.info("listening for other replicas on %s port %d", address, port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._runner.cleanup()

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("the port for other replicas: internal error", exc_info=error)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWAL)
            self._credentials.renew()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError as error:
                self._room.release()
                text = f"cannot accept connections of replicas: {error}; retrying every second"
                self._failures.failed("accept", str(error), text)
                await asyncio.sleep(_ACCEPT_PAUSE)
                continue
            self._failures.worked("accept", "connections of replicas are accepted again")
            self._begin(self._shake_hands(connection, address[0]))

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        server = self._runner.server
        assert server is not None
        try:
            connection.setblocking(False)
            if len(server.connections) >= CONNECTIONS:
                connection.close()
                text = f"more than {CONNECTIONS} connections of replicas; further ones are closed"
                self._failures.failed("connections", "", text)
                return
            self._failures.worked("connections")
            await asyncio.get_running_loop().connect_accepted_socket(
                server,
                connection,
                ssl=self._credentials.server,
                ssl_handshake_timeout=_HANDSHAKE,
                ssl_shutdown_timeout=_SHUTDOWN,
            )
        except OSError as error:
            reason = handshake_failure(error)
            text = f"connection from {address} to the port for replicas refused: {reason}"
            self._failures.failed(address, reason, text)
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._room.release()

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text=self._replica)

    async def _table(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._nodes(), content_type="application/json")

    async def _question(self, request: web.Request) -> web.Response:
        """Answer with the node's answer; 502 and a text if there is none."""
        try:
            seconds = min(ANSWER, float(request.query.get("seconds", "")))
            question = decode(await request.read())
            question.group = _GROUP  # and never that of CloudHub's own processes
            node = node_of(question.resource)
        except (ValueError, NotAMessage, BadResource) as error:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"not a question: {error}")
        try:
            answer = await self._questions.ask_here(node, question, seconds)
        except NoAnswer as error:
            return web.Response(status=HTTPStatus.BAD_GATEWAY, text=str(error))
        return web.Response(body=encode(answer), content_type="application/octet-stream")

"""The websocket server: accepts connections, does TLS, and answers an edge's request.

picows parses and frames, uvloop does TLS. Connections are accepted here and not by
`picows.ws_create_server`, for three reasons: the answer to a request depends on the client's
certificate, which that function does not expose; failed TLS handshakes have to be logged and
counted; and the handshakes in progress are limited, while further connections wait in the listen
backlog, so that thousands of edges can connect at once without a timeout on either side.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from functools import partial
from http import HTTPStatus
from typing import Final, Protocol

from picows import WSListener, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.identity import HandshakeRefused, Identity, identify
from modules.cloudhub.endpoint.tls import ServerTls, handshake_failure
from modules.common.failure_log import FailureLog
from modules.common.host_port import host_port

log = logging.getLogger(__name__)

_HANDSHAKES_AT_ONCE: Final = 128
_ACCEPTED_AT_ONCE: Final = 4
#: Seconds after which a handshake may be cancelled if other connections wait, so that a silent
#: client blocks others no longer than this.
_PATIENCE: Final = 3.0
#: Seconds until the next attempt to accept after the process ran out of descriptors or memory.
_ACCEPT_PAUSE: Final = 1.0
#: Seconds for the TLS shutdown of a closed connection.
_SHUTDOWN: Final = 3.0
#: Initial size: most edges are idle, and picows doubles a full buffer.
_READ_BUFFER: Final = 2048

# This package logs the errors of picows itself, in one line with the node's name.
_picows_log = logging.getLogger(f"{__name__}.picows")
_picows_log.setLevel(logging.CRITICAL + 1)
_quiet = logging.LoggerAdapter(_picows_log)  # for a Logger, picows makes a child per connection


class ServerOwner(Protocol):
    """What the server needs of the hub."""

    config: CloudHubConfig

    def refuse(self, address: str, cause: str, reason: str) -> None: ...
    def admit(self, identity: Identity, address: str, connection: socket.socket) -> WSListener: ...


class Server:
    """Accepts edges on a listening, non-blocking socket."""

    def __init__(self, owner: ServerOwner, listener: socket.socket, tls: ServerTls) -> None:
        self.owner = owner
        self._listener = listener
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[asyncio.Task[None], float] = {}  # with their start
        self._accepting = False
        self._stopped = False
        self._failures = FailureLog(log, logging.ERROR)

    def start(self) -> None:
        # Connections without data stay in the kernel, and do not count as handshakes.
        patience = math.ceil(self.owner.config.handshake_timeout)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, patience)
        self._resume_accepting()

    def stop(self) -> None:
        """Stop accepting; the listening socket belongs to the supervisor and stays open."""
        self._stopped = True
        self._pause_accepting()
        for handshake in list(self._handshakes):
            handshake.cancel("cloudcore is stopping")

    def _resume_accepting(self) -> None:
        if not self._stopped:
            self._accepting = True
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _pause_accepting(self) -> None:
        self._accepting = False
        self._loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        if len(self._handshakes) >= _HANDSHAKES_AT_ONCE and not self._make_room():
            return
        # If processes share the socket, each accepts a few at a time and leaves them the rest.
        most = _HANDSHAKES_AT_ONCE if self.owner.config.processes == 1 else _ACCEPTED_AT_ONCE
        for _ in range(min(most, _HANDSHAKES_AT_ONCE - len(self._handshakes))):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # the client gave up in the backlog
            except OSError as error:
                text = f"cannot accept connections: {error}; retrying every second"
                self._failures.failed("accept", str(error), text)
                self._pause_accepting()
                self._loop.call_later(_ACCEPT_PAUSE, self._resume_accepting)
                return
            self._failures.worked("accept", "connections are accepted again")
            connection.setblocking(False)
            task = self._loop.create_task(self._shake_hands(connection, host_port(*address[:2])))
            self._handshakes[task] = self._loop.time()
            task.add_done_callback(partial(self._handshake_over, connection))

    def _make_room(self) -> bool:
        """Cancel the oldest handshake if its time is up; otherwise pause accepting until it is."""
        oldest, began = next(iter(self._handshakes.items()))
        patience = began + _PATIENCE - self._loop.time()
        if patience > 0:
            self._pause_accepting()
            self._loop.call_later(patience, self._resume_accepting)
            return False
        del self._handshakes[oldest]
        oldest.cancel("slow in the TLS handshake while others wait")
        return True

    def _handshake_over(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if task.cancelled():
            connection.close()
        if not self._accepting:
            self._resume_accepting()

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        made = _Connection(self, address, connection)
        try:
            await self._loop.connect_accepted_socket(
                lambda: made,
                connection,
                ssl=self._tls.context,
                ssl_handshake_timeout=self.owner.config.handshake_timeout,
                ssl_shutdown_timeout=_SHUTDOWN,
            )
        except OSError as error:
            self.owner.refuse(address, "tls", handshake_failure(error))
        except asyncio.CancelledError as cancelled:
            made.refused()
            self.owner.refuse(address, "tls", f"{cancelled}")
            raise


class _Connection(WSProtocol):  # type: ignore[misc]
    """The protocol of picows, which calls `_answer` when the request has been read."""

    __slots__ = ("_address", "_answered", "_server", "_socket")

    def __init__(self, server: Server, address: str, connection: socket.socket) -> None:
        config = server.owner.config
        super().__init__(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=self._answer,
            logger=_quiet,
            disconnect_on_exception=True,
            websocket_handshake_timeout=config.handshake_timeout,
            enable_auto_ping=False,
            auto_ping_idle_timeout=1,
            auto_ping_reply_timeout=1,
            auto_ping_strategy=1,
            enable_auto_pong=False,
            max_frame_size=config.max_message_bytes,
            extra_headers=None,
            read_buffer_init_size=_READ_BUFFER,
        )
        self._server = server
        self._address = address
        self._socket = connection
        self._answered = False

    def refused(self) -> None:
        """Record that the caller logs why this connection gets no session."""
        self._answered = True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answered:
            self._server.owner.refuse(
                self._address, "request", "it made no valid websocket request"
            )
        super().connection_lost(exc)

    def _answer(
        self, request: WSUpgradeRequest
    ) -> WSListener | WSUpgradeResponseWithListener | None:
        self._answered = True
        owner = self._server.owner
        certificate = self.transport.underlying_transport.get_extra_info("peercert") or {}
        strict = owner.config.authorization == "strict"
        try:
            identity = identify(request.path, request.headers, certificate, strict=strict)
            session = owner.admit(identity, self._address, self._socket)
        except HandshakeRefused as refused:
            owner.refuse(self._address, refused.cause, str(refused))
            retry = (
                {"Retry-After": "60"} if refused.status is HTTPStatus.SERVICE_UNAVAILABLE else {}
            )
            return _response(refused.status, f"{refused}\n", retry)
        except Exception:
            log.exception("cannot answer the request of %s", self._address)
            return _response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error, see the log\n", {})
        # uvloop keeps this dict as long as the connection; the identity has what is needed.
        certificate.clear()
        return session


def _response(
    status: HTTPStatus, body: str, headers: dict[str, str]
) -> WSUpgradeResponseWithListener:
    response = WSUpgradeResponse.create_error_response(status, body.encode(), headers)
    return WSUpgradeResponseWithListener(response, None)

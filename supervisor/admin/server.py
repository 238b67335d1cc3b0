"""Listening for admin requests."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ipc.unixsocket import UnixListener
from supervisor.admin.http import TIMEOUT, IsTrusted, serve_one
from supervisor.admin.router import Router

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

_MAX_CONNECTIONS: Final = 64
_MOMENT: Final = 1.0  # seconds for the request of one connection too many
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Too Many Connections\r\nContent-Type: application/json\r\n"
    b'Connection: close\r\n\r\n{"error":"too many connections are open"}\n'
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class AdminServer:
    """Listens from `start` until it is left: on the Unix socket, and where `[admin]` says.

    Whoever can open the Unix socket is trusted. Over TCP one has to show the token to be, if
    there is one; without it, only what gives nothing away is answered.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._listener = UnixListener(supervisor.paths.admin_socket, self._handler(lambda _: True))
        self._settings = supervisor.configuration.admin
        self._router = Router(supervisor)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def start(self) -> Self:
        """Begin; raises OSError if the TCP address or the token's file cannot be used."""
        if self._settings.address:
            token = self._settings.token_file and _read_token(Path(self._settings.token_file))
            await self._listen_on_tcp(token)
        await self._listener.listen()
        return self

    @property
    def path(self) -> Path:
        """Where the Unix socket is."""
        return self._listener.path

    async def restore(self) -> bool:
        """Listen again if the socket was removed, and say whether it was; raises OSError."""
        if self._listener.intact:
            return False
        await self._listener.listen()
        return True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.close()
        self._listener.close()
        self._router.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=1)
        for task in self._connections:
            task.cancel()

    async def _listen_on_tcp(self, token: str) -> None:
        host, _, port = self._settings.address.rpartition(":")

        def is_trusted(headers: Mapping[str, str]) -> bool:
            shown = headers.get("authorization", "").removeprefix("Bearer ")
            return bool(token) and hmac.compare_digest(shown.encode(), token.encode())

        handler = self._handler(is_trusted)
        server = await asyncio.start_server(handler, host.strip("[]"), int(port))
        address = server.sockets[0].getsockname()
        log.info("admin interface on http://%s:%d", *address[:2])
        self._servers.append(server)

    def _handler(self, is_trusted: IsTrusted) -> Handler:
        """Make what serves a connection of one listener; each has a limit of its own."""
        here: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            for tasks in (here, self._connections):
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            try:
                if len(here) > _MAX_CONNECTIONS:
                    with contextlib.suppress(TimeoutError):  # unread, it would end in a reset
                        async with asyncio.timeout(_MOMENT):
                            await reader.read(65536)
                    writer.write(_TOO_MANY)
                else:
                    await serve_one(reader, writer, self._router.respond, is_trusted)
                writer.close()
                async with asyncio.timeout(TIMEOUT):
                    await writer.wait_closed()
            except (TimeoutError, ConnectionError):
                log.debug("an admin connection ended early")
            finally:
                writer.transport.abort()

        return handle


def _read_token(file: Path) -> str:
    token = file.read_text("utf-8").strip()
    if not token:
        raise OSError(0, "the file of the admin token is empty", str(file))
    return token

"""The listeners of the admin interface."""

from __future__ import annotations

import asyncio
import errno
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ipc.unix_socket import UnixListener
from supervisor.admin.backend import Backend, MakeControl
from supervisor.admin.connections import Connections
from supervisor.admin.http import IsTrusted
from supervisor.admin.router import Router
from supervisor.fleet.fleet import Fleet
from supervisor.fleet.shutdown import Shutdown

log = logging.getLogger(__name__)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class AdminServer:
    """The listeners, on the Unix socket and at the address of `[admin]`; open until it is left.

    A client of the Unix socket is trusted. A TCP client is trusted if it sends the token; otherwise
    only open routes are served.
    """

    def __init__(self, fleet: Fleet, control: MakeControl, shutdown: Shutdown) -> None:
        self._settings = fleet.configuration.admin
        self._backend = Backend(fleet, control, shutdown)
        self._router = Router(self._backend)
        self._connections: list[Connections] = []
        self._listener = UnixListener(fleet.paths.admin_socket, self._handler(lambda _: True))
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        return self

    async def start(self) -> Self:
        """Listen; raises OSError if the TCP address or the token's file cannot be used."""
        if self._settings.address:
            token = self._settings.token_file and _read_token(Path(self._settings.token_file))
            await self._listen_on_tcp(token)
        await self._listener.listen()
        return self

    @property
    def path(self) -> Path:
        """The path of the Unix socket."""
        return self._listener.path

    async def restore(self) -> bool:
        """Listen again if the socket was removed; return whether it was. Raises OSError."""
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
        self._backend.close()
        await asyncio.gather(*(each.close(timeout=1) for each in self._connections))

    async def _listen_on_tcp(self, token: str) -> None:
        host, _, port = self._settings.address.rpartition(":")

        def is_trusted(headers: Mapping[str, str]) -> bool:
            return shows(token, headers.get("authorization", ""))

        handler = self._handler(is_trusted)
        server = await asyncio.start_server(handler, host.strip("[]"), int(port))
        address = server.sockets[0].getsockname()
        log.info("admin interface on http://%s:%d", *address[:2])
        self._servers.append(server)

    def _handler(self, is_trusted: IsTrusted) -> Handler:
        """Return the handler of one listener's connections."""
        connections = Connections(self._router.respond, is_trusted)
        self._connections.append(connections)
        return connections.handle


def shows(token: str, authorization: str) -> bool:
    """Whether an Authorization header has the token; its scheme is case-insensitive (RFC 9110)."""
    scheme, _, shown = authorization.strip().partition(" ")
    matches = hmac.compare_digest(shown.strip().encode(), token.encode())
    return bool(token) and scheme.lower() == "bearer" and matches


def _read_token(file: Path) -> str:
    try:
        token = file.read_text("utf-8").strip()
    except OSError as error:
        text = f"cannot read the token file {file}: {error.strerror}"
        raise OSError(error.errno, text) from error
    if not token:
        raise OSError(errno.EINVAL, f"the token file {file} is empty; write a token to it")
    return token

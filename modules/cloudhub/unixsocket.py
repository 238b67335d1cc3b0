"""A Unix socket that only this user can open, for the few who are not edges."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

log = logging.getLogger(__name__)

_MAX_CONNECTIONS: Final = 64

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class UnixServer:
    """Listens on `path` as long as it is entered; `serve` is run for each connection."""

    def __init__(self, path: Path, serve: Serve) -> None:
        self._path = path
        self._serve = serve
        self._server: asyncio.Server
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)  # left behind by one that was killed
        old_umask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._connected, self._path)
        finally:
            os.umask(old_umask)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        self._path.unlink(missing_ok=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= _MAX_CONNECTIONS:
                await self._serve(reader, writer)
        except (TimeoutError, ConnectionError):
            log.debug("a connection at %s ended early", self._path)
        except asyncio.CancelledError:
            log.debug("a connection at %s was ended: the module stops", self._path)
        except Exception:
            log.exception("a request at %s was not answered", self._path)
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def remove_dead(directory: Path, name: str) -> None:
    """Remove the sockets of a module's processes that nobody listens at: they were killed."""
    for path in (*directory.glob(f"{name}.sock"), *directory.glob(f"{name}-*.sock")):
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)

"""A server on a Unix socket that only this user can open, for clients that are not edges."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ipc.background import keep_running
from ipc.unix_socket import UnixListener, remove_socket
from modules.common.failure_log import FailureLog

log = logging.getLogger(__name__)

#: Seconds between two checks whether the socket still exists.
LOOK: Final = 5.0
#: Connections at once, unless the server says otherwise.
_LIMIT: Final = 64

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class UnixServer:
    """An async context manager that listens on `path`, and runs `serve` for each connection.

    More than `limit` connections at once are sent `busy`, and closed.
    """

    def __init__(self, path: Path, serve: Serve, *, limit: int = _LIMIT, busy: bytes = b"") -> None:
        self._path = path
        self._serve = serve
        self._limit = limit
        self._busy = busy
        self._listener = UnixListener(path, self._connected)
        self._connections: set[asyncio.Task[None]] = set()
        self._failures = FailureLog(log)

    async def __aenter__(self) -> Self:
        await self._listener.listen()
        work = keep_running(f"the watch over {self._path}", self._keep)
        self._keeping = asyncio.create_task(work)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._keeping.cancel()
        self._listener.close()
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _keep(self) -> None:
        """Listen again when the socket has been removed, for example by a cleaner of /tmp."""
        said = ""
        while True:
            await asyncio.sleep(LOOK)
            if self._listener.intact:
                continue
            try:
                await self._listener.listen()
            except OSError as error:  # until the supervisor has recreated the run directory
                if str(error) != said:
                    log.error("%s was removed; cannot create it again: %s", self._path, error)
                said = str(error)
            else:
                log.warning("%s was removed; created it again", self._path)
                said = ""

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= self._limit:
                self._failures.worked("")
                await self._serve(reader, writer)
            else:
                self._failures.failed("", "", f"{self._path}: more than {self._limit} connections")
                writer.write(self._busy)
        except (TimeoutError, ConnectionError):
            log.debug("%s: the client disconnected early", self._path)
        except asyncio.CancelledError:
            log.debug("%s: connection closed, the module stops", self._path)
        except Exception:
            log.exception("%s: cannot answer a request", self._path)
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def remove_dead(directory: Path, name: str) -> None:
    """Remove the sockets that killed processes of a module have left behind."""
    for path in (*directory.glob(f"{name}.sock"), *directory.glob(f"{name}-*.sock")):
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.setblocking(False)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                remove_socket(path)

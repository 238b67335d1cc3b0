"""A TCP forwarder: the address in front of several servers, and a network that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Forwarder:
    """Takes each new connection to `target`, the port of a server; 0 refuses it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._frozen = asyncio.Event()
        self._frozen.set()
        self._connections: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Pass nothing on any more, in either direction, and tell nobody."""
        self._frozen.clear()

    def mend(self) -> None:
        self._frozen.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Forwarder]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in list(self._connections):
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._forward(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._frozen.wait()
        with suppress(OSError, asyncio.CancelledError):
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                ways = (self._pump(reader, ours), self._pump(theirs, writer))
                tasks = [asyncio.create_task(way) for way in ways]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                ours.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._frozen.wait()
            sink.write(data)
            await sink.drain()

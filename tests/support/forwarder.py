"""A TCP forwarder: the address in front of several servers, and a network that can be cut."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

#: The ways of a connection: to the server, and from it.
Way = Literal["to", "from"]
BOTH: Final[tuple[Way, ...]] = ("to", "from")


class _Network:
    """Whether something gets through to a server, and from it."""

    def __init__(self) -> None:
        self.ways: dict[Way, asyncio.Event] = {way: asyncio.Event() for way in BOTH}
        for event in self.ways.values():
            event.set()


class Forwarder:
    """Takes each new connection to `target`, the port of a server; 0 refuses it.

    A cut is one of the network to the server that is the target then. Whoever is cut off is told
    nothing: neither that the other side has closed the connection, nor that a new one is refused.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._networks: defaultdict[int, _Network] = defaultdict(_Network)
        self._connections: set[asyncio.Task[None]] = set()

    def cut(self, *ways: Way) -> None:
        """Pass nothing on in these ways any more, or in neither if none is named."""
        for way in ways or BOTH:
            self._networks[self.target].ways[way].clear()

    def mend(self) -> None:
        """Pass on what has waited, and all that comes."""
        for network in self._networks.values():
            for event in network.ways.values():
                event.set()

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
        target = self.target
        to, back = (self._networks[target].ways[way] for way in BOTH)
        with suppress(OSError, asyncio.CancelledError):
            for way in (to, back):  # a handshake needs both
                await way.wait()
            theirs, ours = await asyncio.open_connection("127.0.0.1", target)
            try:
                pumps = (_pump(reader, ours, to), _pump(theirs, writer, back))
                tasks = [asyncio.create_task(pump) for pump in pumps]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                ours.close()


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: asyncio.Event
) -> None:
    """Pass on what comes until the end, which is passed on like anything else: when it can be."""
    while True:
        try:
            data = await source.read(65536)
        except OSError:
            data = b""
        await way.wait()
        if not data:
            return
        sink.write(data)
        await sink.drain()

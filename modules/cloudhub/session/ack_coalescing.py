"""The acknowledgements of many edges are read at once: interrupt coalescing, for sockets.

Being woken for a single one costs several times what reading it does, and nobody waits for it. So
for a moment after an edge has been told something its socket becomes readable (SO_RCVLOWAT,
socket(7)) only when there is more to read than an acknowledgement, or at its end.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

#: Seconds that an acknowledgement may wait for those of other edges.
_WAIT: Final = 0.05

#: Bytes, as TLS has them, that do not wait: an acknowledgement has some 300, a status 2,000.
_LARGE: Final = 1024


class AckCoalescing:
    """The connections that wait for an acknowledgement."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: dict[socket.socket, None] = {}

    def expect(self, connection: socket.socket) -> None:
        """Let what little the other side says next wait for others."""
        if connection in self._connections:
            return
        if not self._connections:
            self._loop.call_later(_WAIT, self._read)
        self._connections[connection] = None
        _read_from(connection, _LARGE)

    def _read(self) -> None:
        for connection in self._connections:
            _read_from(connection, 1)
        self._connections.clear()


def _read_from(connection: socket.socket, size: int) -> None:
    """Let a socket be readable when there are so many bytes, if it is still open."""
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

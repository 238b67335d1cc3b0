"""Reads the acknowledgements of many edges together: interrupt coalescing, for sockets.

A wake-up for a single acknowledgement costs several times what reading it does, and nobody waits
for it. So for a short time after an edge has been sent something, its socket becomes readable
(SO_RCVLOWAT, socket(7)) only when more than an acknowledgement has arrived, or at end of file.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

#: Seconds for which an acknowledgement may be delayed.
_DELAY: Final = 0.05

#: Bytes, TLS included, that are read at once: an acknowledgement has some 300, a status 2,000.
_LARGE: Final = 1024


class AckCoalescing:
    """The connections from which an acknowledgement is expected."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: dict[socket.socket, None] = {}

    def expect(self, connection: socket.socket) -> None:
        """Raise SO_RCVLOWAT for a short time, so that acknowledgements are read together."""
        if connection in self._connections:
            return
        if not self._connections:
            self._loop.call_later(_DELAY, self._read)
        self._connections[connection] = None
        _set_low_water_mark(connection, _LARGE)

    def _read(self) -> None:
        for connection in self._connections:
            _set_low_water_mark(connection, 1)
        self._connections.clear()


def _set_low_water_mark(connection: socket.socket, size: int) -> None:
    """Set the number of bytes at which a socket is readable, if it is still open."""
    if connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

"""Dials cloudcore: a websocket connection whose dial can be cancelled, and why none came about.

A dial that is cancelled leaves nothing, at any step.

picows does not close a connection whose upgrade is not answered yet, and with aiofastnet, its
default, closes a socket that the TLS transport goes on using: the next socket gets the number.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohappyeyeballs import start_connection
from picows import WSListener, WSParsedURL, WSTransport, ws_connect

from modules.common.connection_failures import is_other_name, why


async def dial(listener: Callable[[], WSListener], url: str, **options: Any) -> WSTransport:
    """Connect to `url`, with `options` of picows' ws_connect; raise what that raises."""
    opened: list[socket.socket] = []

    async def open_socket(to: WSParsedURL) -> socket.socket:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        opened.append(await start_connection(addresses))
        return opened[0]

    connecting = asyncio.create_task(
        ws_connect(listener, url, socket_factory=open_socket, use_aiofastnet=False, **options)
    )
    try:
        transport, _ = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        if not opened:
            connecting.cancel()
        for each in opened:
            with suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([connecting])
        if not connecting.cancelled() and connecting.exception() is None:
            await connecting.result()[0].wait_disconnected()
        raise
    return transport


def why_unreachable(error: Exception) -> str:
    """Return why cloudcore cannot be reached, and what to do if its certificate is for others."""
    hint = "; add it to modules.cloudhub.names of cloudcore" if is_other_name(error) else ""
    return why(error) + hint

"""Listening sockets: the supervisor opens them, and keeps them open while modules restart."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ipc.unix_socket import path_fault
from supervisor.host.listener import Listener

Sockets = Mapping[str, socket.socket]

#: Connections that may wait to be accepted; the kernel's limit is net.core.somaxconn.
_BACKLOG: Final = 4096


def open_all(listeners: Mapping[str, Listener]) -> dict[str, socket.socket]:
    """Open a socket for each listener, by its name; OSError says which one it was."""
    opened: dict[str, socket.socket] = {}
    try:
        for name, listener in listeners.items():
            opened[name] = _open(name, listener.address, listener.port, listener.kind)
    except OSError:
        for sock in opened.values():
            sock.close()
        raise
    return opened


def check_unix_paths(module: str, names: Iterable[str], run_dir: Path) -> None:
    """Raise OSError if the path of one of a module's Unix sockets is too long."""
    for name in names:
        if fault := path_fault(run_dir / name):
            text = f"module {module}: {fault}; choose a shorter --run-dir"
            raise OSError(errno.ENAMETOOLONG, text)


def address(sock: socket.socket) -> str:
    """Return a socket's own address as HOST:PORT."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def refuse(listening: Sockets) -> None:
    """Refuse connections at once, as a closed port does, but keep the ports.

    Connections in the backlog are reset. On Linux shutdown(2) ends listening and keeps the port.
    Accepting and closing connections instead would look like a running server to health checks.
    """
    for sock in listening.values():
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            # With SO_REUSEADDR another program could bind to the port while nothing listens.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            sock.shutdown(socket.SHUT_RD)


def accept_again(listening: Sockets) -> None:
    """Undo `refuse`; nothing happens to a socket that listens."""
    for sock in listening.values():
        streams = sock.type == socket.SOCK_STREAM  # datagrams have no backlog
        if streams and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.listen(_BACKLOG)


def close_all(listening: Sockets) -> None:
    for sock in listening.values():
        sock.close()


def _open(name: str, address: str, port: int, kind: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        opened = (
            _datagrams(family, address, port) if kind == "udp" else _streams(family, address, port)
        )
    except (OSError, UnicodeError, OverflowError) as error:
        why = _reason(error)
        text = f"cannot listen on {address}:{port} for {name}: {why}"
        raise OSError(getattr(error, "errno", None), text) from error
    opened.setblocking(False)
    return opened


def _reason(error: Exception) -> str:
    """Return why there is no socket, without the address, which socket.create_server adds."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{os.strerror(error.errno)}; `cloudcore doctor` names the process that uses it"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return str(error.strerror or error)
    return os.strerror(error.errno)


def _streams(family: int, address: str, port: int) -> socket.socket:
    with socket.socket(family) as free:
        if not port:  # `refuse` keeps a port only if it was bound by its number
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind((address, 0))
            port = free.getsockname()[1]
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)


def _datagrams(family: int, address: str, port: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:  # as create_server does it
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address, port))
    except BaseException:
        opened.close()
        raise
    return opened

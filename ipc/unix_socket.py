"""Unix sockets to listen on, to which only the same user can connect."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

#: sun_path of sockaddr_un on Linux is 108 bytes, the last one a NUL (unix(7)).
LONGEST_PATH: Final = 107

#: Connections that wait to be accepted; with more of them a client's `connect` fails (EAGAIN).
_BACKLOG: Final = socket.SOMAXCONN

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def path_fault(path: Path) -> str:
    """Return why `path` cannot be the path of a Unix socket; empty if it can."""
    length = len(os.fsencode(path))
    if length <= LONGEST_PATH:
        return ""
    return (
        f"{path} is {length} bytes long; the path of a Unix socket may have at most "
        f"{LONGEST_PATH} (unix(7))"
    )


class UnixListener:
    """A Unix socket at `path` with mode 0600; `connected` is called for each connection.

    A socket that a killed process left at `path` is replaced; anything else at `path` is an error.
    """

    def __init__(self, path: Path, connected: Connected) -> None:
        self.path = path
        self._connected = connected
        self._server: asyncio.Server | None = None
        self._bound: os.stat_result | None = None

    @property
    def intact(self) -> bool:
        """Whether `path` is still this socket: it may have been removed or replaced."""
        try:
            return self._bound is not None and os.path.samestat(self._bound, self.path.lstat())
        except OSError:
            return False

    async def listen(self) -> None:
        """Listen, or create the socket again at the same path; connections stay open.

        Raises OSError with the path in its message.
        """
        try:
            made = self._open()
        except OSError as error:
            text = f"cannot listen on the Unix socket {self.path}: {error.strerror or error}"
            raise OSError(error.errno, text) from error
        if self._server:
            self._server.close()
        self._server = await asyncio.start_unix_server(self._connected, sock=made, backlog=_BACKLOG)

    def close(self) -> None:
        """Stop listening, and remove the socket if `path` is still this one."""
        if self._server:
            self._server.close()
        if self.intact:
            self.path.unlink(missing_ok=True)
        self._bound = None

    def _open(self) -> socket.socket:
        if fault := path_fault(self.path):
            raise OSError(errno.ENAMETOOLONG, fault)
        remove_socket(self.path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        old_umask = os.umask(0o177)
        try:
            made.bind(os.fsencode(self.path))
            self._bound = self.path.lstat()
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE:
                text = "the path exists and is not a socket; remove it, or choose another path"
                raise OSError(errno.EEXIST, text) from error
            raise
        finally:
            os.umask(old_umask)
        made.setblocking(False)
        return made


def remove_socket(path: Path) -> None:
    """Remove a Unix socket that a process left behind; keep anything else at `path`."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()

"""Listening on Unix sockets that only this user can connect to."""

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

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def path_fault(path: Path) -> str:
    """Say why the kernel would not take `path` for a Unix socket; empty if it would."""
    length = len(os.fsencode(path))
    if length <= LONGEST_PATH:
        return ""
    return (
        f"{path} is {length} bytes long, and a Unix socket's path may have {LONGEST_PATH} (unix(7))"
    )


class UnixListener:
    """A Unix socket at `path`, mode 0600; `connected` is run for each connection.

    A socket that a killed process left at `path` is replaced. Anything else stays where it is.
    """

    def __init__(self, path: Path, connected: Connected) -> None:
        self.path = path
        self._connected = connected
        self._server: asyncio.Server | None = None
        self._bound: os.stat_result | None = None

    @property
    def intact(self) -> bool:
        """Whether `path` still leads to this socket: somebody may have removed or replaced it."""
        try:
            return self._bound is not None and os.path.samestat(self._bound, self.path.lstat())
        except OSError:
            return False

    async def listen(self) -> None:
        """Begin to listen, or begin anew at the same path; raises OSError, which names it.

        Connections that exist go on.
        """
        try:
            made = self._open()
        except OSError as error:
            text = f"cannot listen on the Unix socket {self.path}: {error.strerror or error}"
            raise OSError(error.errno, text) from error
        if self._server:
            self._server.close()
        self._server = await asyncio.start_unix_server(self._connected, sock=made)

    def close(self) -> None:
        """Listen no more, and remove the socket if it is still this one."""
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
                text = "there is something that is not a socket; remove it, or name another path"
                raise OSError(errno.EEXIST, text) from error
            raise
        finally:
            os.umask(old_umask)
        made.setblocking(False)
        return made


def remove_socket(path: Path) -> None:
    """Remove a Unix socket that was left behind; anything else at `path` stays where it is."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()

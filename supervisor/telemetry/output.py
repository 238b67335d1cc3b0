"""The output of modules (stdout, stderr): kept for crash reports, and copied to our stderr.

    module's fd 1, 2 --> pipe --> ModuleOutput --> Console --> the supervisor's own stderr
                                       |
                                       +--> Recent; followers (`cloudcore logs -f`)

Nothing here blocks: a module's write to a full pipe fails at once, and output that a stalled
terminal does not accept is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import heapq
import itertools
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ipc.files import NO_SPACE

#: Bytes kept of each module, at least.
_KEPT: Final = 256 * 1024
#: Bytes of a pipe's buffer: the maximum for an unprivileged user (fs.pipe-max-size).
_PIPE: Final = 1 << 20
_READ: Final = 64 * 1024
#: Bytes that may wait for a slow terminal.
_WAITING: Final = 1 << 20

Follower = Callable[[str, bytes], None]
"""called with the module's name and each piece of its output: one or more whole lines"""


class Console:
    """The supervisor's stderr; writing to it never blocks."""

    def __init__(self, fd: int = 2) -> None:
        self._own = self._reopen(fd)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._watched = False

    def write(self, data: bytes) -> None:
        """Write whole lines now, or when stderr accepts them; drop them if too many wait."""
        if self._waiting:
            self._put_off(data)
            if not self._watched:  # a file on a disk that was full
                self._flush()
            return
        taken = self._try(data)
        if taken < len(data):
            self._put_off(data[taken:])
            self._watch()

    def close(self) -> None:
        if isinstance(self._own, socket.socket):
            self._own.close()
        else:
            os.close(self._own)

    def _reopen(self, fd: int) -> int | socket.socket:
        """Return a descriptor that can be made non-blocking: the inherited one is shared."""
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{fd}", flags)
        except OSError:
            try:
                return socket.socket(fileno=os.dup(fd))  # journald's
            except OSError:  # the terminal of another user
                return os.dup(fd)

    def _try(self, data: bytes) -> int:
        try:
            if isinstance(self._own, socket.socket):
                return self._own.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return os.write(self._own, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in NO_SPACE:  # passes when the disk has room again
                return 0
            return len(data)  # nobody reads it any more: the rest is discarded

    def _put_off(self, data: bytes) -> None:
        if self._waiting_bytes + len(data) > _WAITING:
            self._dropped += data.count(b"\n")
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)

    def _watch(self) -> None:
        with contextlib.suppress(RuntimeError, PermissionError):  # no loop, or a plain file
            asyncio.get_running_loop().add_writer(self._own, self._flush)
            self._watched = True

    def _flush(self) -> None:
        while self._waiting:
            data = self._waiting[0]
            taken = self._try(data)
            self._waiting_bytes -= taken
            if taken < len(data):
                self._waiting[0] = data[taken:]
                return
            self._waiting.popleft()
            if not self._waiting and self._dropped:
                note = f"({self._dropped} log lines were dropped: stderr was too slow)\n"
                self._dropped = 0
                self._waiting.append(note.encode())
                self._waiting_bytes += len(note)
        if self._watched:
            self._watched = False
            asyncio.get_running_loop().remove_writer(self._own)


class Recent:
    """The most recent output of one module, the last 256 KiB and the whole piece they begin in."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Add whole lines; they get a place in the order of the output of all modules."""
        self._pieces.append((next(_count), data))
        self._bytes += len(data)
        while self._bytes - len(self._pieces[0][1]) > _KEPT:
            self._bytes -= len(self._pieces.popleft()[1])

    @property
    def end(self) -> int:
        """The mark of the last piece so far, for `last_lines`; 0 before the first piece."""
        return self._pieces[-1][0] if self._pieces else 0

    @property
    def pieces(self) -> Iterable[tuple[int, bytes]]:
        """The kept pieces, each with its place."""
        return self._pieces


_count = itertools.count(1)


def last_lines(number: int, *kept: Recent, since: int = 0) -> list[str]:
    """Return the last `number` lines of one or more outputs, in order of arrival, after a mark."""
    pieces = heapq.merge(*(recent.pieces for recent in kept))
    data = b"".join(piece for place, piece in pieces if place > since)
    lines = data.decode("utf-8", "replace").split("\n")[:-1]
    return lines[-number:] if number else []


class Output:
    """The output of the supervisor or of one module: kept, and passed to the followers."""

    def __init__(self, name: str, followers: list[Follower]) -> None:
        self.name = name
        self.recent = Recent()
        self._followers = followers

    def add(self, data: bytes) -> None:
        """Add whole lines."""
        self.recent.add(data)
        for follower in list(self._followers):
            follower(self.name, data)


class ModuleOutput(Output):
    """The output of a module, read from a pipe that outlives its processes."""

    def __init__(self, name: str, followers: list[Follower]) -> None:
        super().__init__(name, followers)
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _PIPE)
        self._unfinished = b""
        self._closed = False
        asyncio.get_running_loop().add_reader(self._read_end, self._read)

    def drain(self) -> None:
        """Read what a process that has exited left in the pipe; others may still be writing."""
        for _ in range(2 * _PIPE // _READ):
            if self._closed or not self._read():
                break
        if self._unfinished:
            self.add(self._unfinished + b"\n")
            self._unfinished = b""

    def close(self) -> None:
        self._closed = True
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def _read(self) -> bool:
        try:
            data = os.read(self._read_end, _READ)
        except BlockingIOError:
            return False
        whole, newline, rest = (self._unfinished + data).rpartition(b"\n")
        if len(rest) > _READ:  # too long for a line: passed on as it is
            whole, newline, rest = whole + newline + rest, b"\n", b""
        self._unfinished = rest
        if newline:
            self.add(whole + newline)
        return True


class OutputHandler(logging.Handler):
    """The handler that adds the supervisor's own records to the output of the modules."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.add(self.format(record).encode("utf-8", "replace") + b"\n")
        except Exception:
            self.handleError(record)

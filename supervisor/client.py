"""HTTP to a running supervisor over its admin socket.

It speaks HTTP/1.0, where an answer ends with its connection, on a socket of its own: `cloudcore
status` is run in loops and in prompts, and most of its time is imports. That of http.client takes
twice as long as all the rest of the command, that of h11 half as long.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from supervisor.host.paths import PathError, check_owner, check_socket_length

#: The lowest status of HTTP that is an error.
_BAD_REQUEST: Final = 400
#: Bytes of a line of the head, and headers; as http.client has them.
_LONGEST_LINE: Final = 65536
_MOST_HEADERS: Final = 100
#: struct ucred: the ids of a process, its user and its group.
_CREDENTIALS: Final = struct.Struct("3i")


class NotRunning(Exception):
    """No supervisor answers at the admin socket."""


class AdminError(Exception):
    """The answer at the admin socket is an error, comes too late, or is not ours."""


class Refused(AdminError):
    """The supervisor refused the request; the text is the supervisor's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _NotHttp(Exception):
    """The answer is not HTTP; the text says why."""


class _Response:
    """The answer to one request: its status, and what follows until the connection ends."""

    def __init__(self, connection: socket.socket, file: BinaryIO) -> None:
        self._connection = connection
        self._file = file
        self.status = self._read_status()
        self._length = self._read_headers()

    def read(self) -> bytes:
        """Return the whole body."""
        body = self._file.read()
        if self._length not in {"", str(len(body))}:
            raise _NotHttp(f"it ends after {len(body)} of {self._length} bytes")
        return body

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body as they come, however long that takes."""
        self._connection.settimeout(None)
        yield from self._file

    def _read_status(self) -> int:
        version, _, rest = self._readline().partition(b" ")
        status, _, _ = rest.partition(b" ")
        if not (version.startswith(b"HTTP/1.") and len(status) == 3 and status.isdigit()):
            raise _NotHttp("it has no status line")
        return int(status)

    def _read_headers(self) -> str:
        """Read the headers; return the length of the body as they tell it, "" if they do not."""
        length = ""
        for _ in range(_MOST_HEADERS):
            line = self._readline()
            if not line:
                return length
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = value.strip().decode("latin-1")
        raise _NotHttp(f"it has more than {_MOST_HEADERS} headers")

    def _readline(self) -> bytes:
        line = self._file.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise _NotHttp("it ends within its head, or has a line that is too long")
        return line.rstrip(b"\r\n")


def request(path: Path, method: str, target: str, *, timeout: float = 5.0) -> Any:
    """Send one request to the admin socket at `path` and return the JSON of the answer.

    `timeout` is in seconds, for each step of the exchange. Raises NotRunning if no process listens
    there, and AdminError if the answer is late, an error, or not JSON.
    """
    with _exchange(path, method, target, timeout) as response:
        return _parse(response, f"{method} {target} at {path}")


def stream(path: Path, target: str, *, timeout: float = 5.0) -> Iterator[str]:
    """Yield the lines of a stream of the admin socket until it ends.

    The stream has to begin within `timeout` seconds. Raises what `request` raises.
    """
    with _exchange(path, "GET", target, timeout) as response:
        if response.status >= _BAD_REQUEST:
            _parse(response, f"GET {target} at {path}")
        for line in response.lines():
            yield line.decode("utf-8", "replace").rstrip("\n")


def text(path: Path, target: str, *, timeout: float = 5.0) -> str:
    """Send a GET request to the admin socket and return the text of the answer."""
    with _exchange(path, "GET", target, timeout) as response:
        if response.status >= _BAD_REQUEST:
            _parse(response, f"GET {target} at {path}")
        return response.read().decode("utf-8", "replace")


@contextmanager
def _exchange(path: Path, method: str, target: str, timeout: float) -> Iterator[_Response]:
    """Send a request and yield the response; turn every failure into NotRunning or AdminError."""
    _check(path)
    listener = 0
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            _connect(connection, path, timeout)
            listener = _listener(connection)
            head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode("ascii"))
            with connection.makefile("rb") as file:
                yield _Response(connection, file)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"cloudcore is not running: no process listens on {path}") from error
    except TimeoutError as error:
        from supervisor.host.suspension import suspension  # of no use to a command that is answered

        why = f": {suspended}" if (suspended := suspension(listener)) else ""
        raise AdminError(f"no answer from {path} within {timeout:g} s{why}") from error
    except OSError as error:
        _check_length(path)
        raise AdminError(f"cannot send a request to {path}: {error.strerror or error}") from error
    except _NotHttp as error:
        raise AdminError(f"the answer from {path} is not HTTP: {error}") from error


def _connect(connection: socket.socket, path: Path, timeout: float) -> None:
    """Connect within `timeout` seconds; raises TimeoutError.

    While the backlog is full, connect(2) waits as long as SO_SNDTIMEO says; with Python's timeout
    that is an error.
    """
    seconds, part = divmod(timeout, 1)
    span = struct.pack("ll", int(seconds), int(part * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)
    try:
        connection.connect(str(path))
    except BlockingIOError as error:
        raise TimeoutError from error
    connection.settimeout(timeout)


def _listener(connection: socket.socket) -> int:
    """Return the process that listens at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid


def _check(path: Path) -> None:
    try:
        if not path.parent.exists():
            raise NotRunning(f"cloudcore is not running: no directory {path.parent}")
        check_owner(path.parent, "--run-dir", root_may=True)
    except PathError as error:
        raise AdminError(str(error)) from error


def _check_length(path: Path) -> None:
    try:
        check_socket_length(path)
    except PathError as error:
        raise AdminError(str(error)) from error


def _parse(response: _Response, asked: str) -> Any:
    """Return the JSON of an answer; raise Refused if it is an error."""
    try:
        answer = json.loads(response.read())
    except ValueError as error:
        raise AdminError(f"{asked}: the answer, status {response.status}, is not JSON") from error
    if response.status >= _BAD_REQUEST:
        reason = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise Refused(response.status, str(reason))
    return answer

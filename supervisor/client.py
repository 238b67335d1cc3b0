"""HTTP to a running supervisor over its admin socket.

It uses the standard library alone: `cloudcore status` is run in loops and in prompts, and most of
its time is imports.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supervisor.host.paths import (
    PathError,
    check_owner,
    check_socket_length,
)


class NotRunning(Exception):
    """No supervisor answers at the admin socket."""


class AdminError(Exception):
    """The answer at the admin socket is an error, comes too late, or is not ours."""


class Refused(AdminError):
    """The supervisor refused the request; the text is the supervisor's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            _wait_for_room(connection, self._seconds)
            connection.connect(str(self._path))
            connection.settimeout(self._seconds)
        except BlockingIOError as error:
            connection.close()
            raise TimeoutError from error
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def _wait_for_room(connection: socket.socket, timeout: float) -> None:
    """Let `connect` wait while the backlog is full; with Python's timeout that is an error."""
    seconds, part = divmod(timeout, 1)
    span = struct.pack("ll", int(seconds), int(part * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)


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
        if response.status >= http.client.BAD_REQUEST:
            _parse(response, f"GET {target} at {path}")
        if response.fp.raw._sock is not None:  # type: ignore[attr-defined]
            response.fp.raw._sock.settimeout(None)  # type: ignore[attr-defined]
        for line in response:
            yield line.decode("utf-8", "replace").rstrip("\n")


def text(path: Path, target: str, *, timeout: float = 5.0) -> str:
    """Send a GET request to the admin socket and return the text of the answer."""
    with _exchange(path, "GET", target, timeout) as response:
        if response.status >= http.client.BAD_REQUEST:
            _parse(response, f"GET {target} at {path}")
        return response.read().decode("utf-8", "replace")


@contextmanager
def _exchange(
    path: Path, method: str, target: str, timeout: float
) -> Iterator[http.client.HTTPResponse]:
    """Send a request and yield the response; turn every failure into NotRunning or AdminError."""
    _check(path)
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target)
        yield connection.getresponse()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"cloudcore is not running: no process listens on {path}") from error
    except TimeoutError as error:
        raise AdminError(f"no answer from {path} within {timeout:g} s") from error
    except OSError as error:
        _check_length(path)
        raise AdminError(f"cannot send a request to {path}: {error.strerror or error}") from error
    except http.client.HTTPException as error:
        raise AdminError(f"the answer from {path} is not HTTP: {error!r}") from error
    finally:
        connection.close()


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


def _parse(response: http.client.HTTPResponse, asked: str) -> Any:
    """Return the JSON of an answer; raise Refused if it is an error."""
    try:
        answer = json.loads(response.read())
    except ValueError as error:
        raise AdminError(f"{asked}: the answer, status {response.status}, is not JSON") from error
    if response.status >= http.client.BAD_REQUEST:
        reason = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise Refused(response.status, str(reason))
    return answer

"""HTTP to a running supervisor over its admin socket.

Kept to the standard library: `cloudcore status` is run in loops and prompts, and most of what
it takes is imports.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from supervisor.paths import PathError, check_owner, check_socket_length


class NotRunning(Exception):
    """No supervisor answers at the admin socket."""


class AdminError(Exception):
    """The supervisor, or something in its place, gave no usable answer."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(self.timeout)
        try:
            connection.connect(str(self._path))
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def request(path: Path, method: str, target: str, *, timeout: float = 5.0) -> Any:
    """Send one request to the admin socket at `path` and return the JSON of the answer.

    `timeout` is in seconds, for each step of the exchange. Raises NotRunning when nobody
    listens there, and AdminError when the answer is late, an error, or not JSON.
    """
    _check(path)
    connection = _UnixConnection(path, timeout)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        body = response.read()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"nothing is running: nobody listens at {path}") from error
    except TimeoutError as error:
        raise AdminError(f"no answer at {path} within {timeout:g} s") from error
    except OSError as error:
        raise AdminError(f"cannot talk to {path}: {error.strerror or error}") from error
    except http.client.HTTPException as error:
        raise AdminError(f"the answer at {path} is not HTTP: {error!r}") from error
    finally:
        connection.close()
    return _parse(f"{method} {target} at {path}", response.status, body)


def _check(path: Path) -> None:
    try:
        check_socket_length(path)
        if not path.parent.exists():
            raise NotRunning(f"nothing is running: there is no {path.parent}")
        check_owner(path.parent)
    except PathError as error:
        raise AdminError(str(error)) from error


def _parse(asked: str, status: int, body: bytes) -> Any:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise AdminError(f"{asked}: answered {status} without JSON") from error
    if status >= http.client.BAD_REQUEST:
        said = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise AdminError(f"{asked}: {status} {said}")
    return answer

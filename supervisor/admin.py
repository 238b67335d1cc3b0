"""The admin socket: HTTP over a Unix socket that only this user can open.

h11 keeps to the protocol, asyncio to the connections: the supervisor stays small.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import h11
import msgspec

log = logging.getLogger(__name__)

#: Seconds for a request to arrive, and for its answer to be taken.
_TIMEOUT: Final = 10.0
_MAX_CONNECTIONS: Final = 64


class Administered(Protocol):
    """What the socket gives access to."""

    def status(self) -> dict[str, Any]: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: a JSON document or a text."""

    status: HTTPStatus
    body: Any

    def encoded(self) -> tuple[str, bytes]:
        """Give the content type and the body's bytes."""
        if isinstance(self.body, str):
            return "text/plain; charset=utf-8", self.body.encode()
        return "application/json", msgspec.json.encode(self.body) + b"\n"


class AdminServer:
    """Listens on `path` as long as it is entered."""

    def __init__(self, path: Path, administered: Administered) -> None:
        self._path = path
        self._administered = administered
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._path.unlink(missing_ok=True)  # left behind by one that was killed
        old_umask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path)
        finally:
            os.umask(old_umask)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=1)
        for task in self._connections:
            task.cancel()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= _MAX_CONNECTIONS:
                async with asyncio.timeout(_TIMEOUT):
                    await self._one_request(reader, writer)
        except (TimeoutError, ConnectionError):
            log.debug("an admin connection ended early")
        except Exception:
            log.exception("a bug in the supervisor: an admin request was not answered")
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _one_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    return
            assert request is not None
            answer = self._answer(request.method.decode(), request.target.decode("ascii"))
        except h11.RemoteProtocolError as error:
            answer = _error(HTTPStatus(error.error_status_hint), str(error))
        kind, body = answer.encoded()
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        response = h11.Response(
            status_code=answer.status, headers=headers, reason=answer.status.phrase
        )
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()

    def _answer(self, method: str, target: str) -> Answer:
        path = target.partition("?")[0]
        match method, path:
            case "GET", "/status":
                return Answer(HTTPStatus.OK, self._administered.status())
            case "GET", "/livez":
                return Answer(HTTPStatus.OK, "ok")
            case "GET", "/readyz":
                return self._readyz()
            case "POST", "/stop":
                status = self._administered.status()
                self._administered.stop()
                return Answer(HTTPStatus.ACCEPTED, {"pid": status["pid"]})
            case _, "/status" | "/livez" | "/readyz" | "/stop":
                return _error(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} does not do {method}")
        return _error(HTTPStatus.NOT_FOUND, f"there is no {path}")

    def _readyz(self) -> Answer:
        """List the modules as Kubernetes lists checks (/readyz?verbose)."""
        modules = [module for module in self._administered.status()["modules"] if module["enabled"]]
        lines = [
            f"[+]{module['name']} ok"
            if module["state"] == "ready"
            else f"[-]{module['name']} failed: {module['state']}"
            for module in modules
        ]
        ready = all(module["state"] == "ready" for module in modules)
        lines.append("readyz check passed" if ready else "readyz check failed")
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Answer(status, "\n".join(lines) + "\n")


def _error(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, {"error": text})

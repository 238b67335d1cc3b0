"""The client of the supervisor's admin socket in the dashboard's event loop.

supervisor/client.py serves commands, one request each, and blocks. Here one pool of connections
serves all viewers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from modules.common.http_library import aiohttp

#: Seconds for a question, and for a verb, which waits until processes have stopped and started.
_TIMEOUT: Final = 10.0
VERB_TIMEOUT: Final = 90.0
#: Connections at most, and bytes of a line of a stream.
_CONNECTIONS: Final = 16
_LONGEST_LINE: Final = 1 << 18


class AdminUnavailable(Exception):
    """A Unix socket of this cloudcore does not answer."""


class AdminRefused(Exception):
    """The supervisor refused a request; the text is the supervisor's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Admin:
    """A client of one Unix socket: the supervisor's, or that of a process of CloudHub."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(str(self._path), limit=_CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, read_bufsize=_LONGEST_LINE)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session
        await self._session.close()

    async def get(self, target: str, *, timeout: float = _TIMEOUT, **query: Any) -> Any:
        """Return the JSON of an answer; raises AdminUnavailable and AdminRefused."""
        return _json(await self._ask("GET", target, query, timeout))

    async def send(self, method: str, target: str) -> Any:
        """Carry out a verb, and return the JSON of its answer; raises as `get` does."""
        return _json(await self._ask(method, target, {}, VERB_TIMEOUT))

    async def lines(self, target: str, **query: Any) -> AsyncGenerator[bytes]:
        """Yield the pieces of a stream as they come; raises as `get` does."""
        assert self._session
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT)
        try:
            async with self._session.get(
                f"http://localhost{target}", params=query, timeout=timeout
            ) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise _refusal(response.status, await response.read())
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error

    async def _ask(self, method: str, target: str, query: dict[str, Any], seconds: float) -> bytes:
        assert self._session
        try:
            async with asyncio.timeout(seconds):
                async with self._session.request(
                    method, f"http://localhost{target}", params=query
                ) as response:
                    body = await response.read()
                    if response.status >= HTTPStatus.BAD_REQUEST:
                        raise _refusal(response.status, body)
                    return body
        except TimeoutError as error:
            text = f"no answer from {self._path} within {seconds:g} s"
            raise AdminUnavailable(text) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> AdminUnavailable:
        return AdminUnavailable(f"cannot reach {self._path}: {error or type(error).__name__}")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        raise AdminUnavailable(f"the answer is not JSON: {error}") from error


def _refusal(status: int, body: bytes) -> AdminRefused:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        answer = body.decode("utf-8", "replace")
    return AdminRefused(
        status, str(answer.get("error", answer) if isinstance(answer, dict) else answer)
    )

"""Finds who answers a request, and says why nobody can."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ipc import ChannelError, UnknownDeadLetter
from supervisor.admin.http import Answer, HttpError, Request, Stream
from supervisor.admin.routes import ROUTES, Route
from supervisor.admin.streams import Streams
from supervisor.config import ConfigError
from supervisor.fleet.control import (
    Control,
    NotPossible,
    UnknownModule,
)
from supervisor.telemetry.crash_reports import UnknownReport

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor


class Router:
    """Finds the route of a request, and lets it answer."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._streams = {True: Streams(), False: Streams()}

    def streams(self, request: Request) -> Streams:
        """Those of who may do everything, or of all others: these cannot keep those out."""
        return self._streams[request.trusted]

    def control(self, request: Request) -> Control:
        """Return the verbs, on behalf of the client of a request."""
        return Control(self.supervisor, request.gone)

    def close(self) -> None:
        """End the streams."""
        for streams in self._streams.values():
            streams.close()

    async def respond(self, request: Request) -> Answer | Stream:
        """Answer a request; HttpError for what cannot be."""
        allowed: list[str] = []
        for route, pattern in _PATTERNS:
            if match := pattern.fullmatch(request.path):
                methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
                if request.method in methods:
                    names = {name: unquote(text) for name, text in match.groupdict().items()}
                    return await self._use(route, replace(request, names=names))
                allowed += methods
        if allowed:
            allow = ", ".join(allowed)
            text = f"{request.path} does not do {request.method}, but {allow}"
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text, ("Allow", allow))
        raise HttpError(
            HTTPStatus.NOT_FOUND, f"there is no {request.path}; /openapi.json tells what there is"
        )

    async def _use(self, route: Route, request: Request) -> Answer | Stream:
        if not (route.open or request.trusted):
            raise HttpError(
                HTTPStatus.FORBIDDEN,
                f"{route.method} {route.path} is for the Unix socket, or wants the token of "
                "[admin] token_file: Authorization: Bearer TOKEN",
            )
        try:
            return await route.handler(self, request)
        except (UnknownModule, UnknownReport, UnknownDeadLetter) as error:
            raise HttpError(HTTPStatus.NOT_FOUND, str(error)) from error
        except (NotPossible, ChannelError) as error:
            raise HttpError(HTTPStatus.CONFLICT, str(error)) from error
        except ConfigError as error:
            text = f"nothing has changed: {error}"
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, text) from error
        except OSError as error:
            text = f"nothing has changed: {error.strerror or error}"
            raise HttpError(HTTPStatus.CONFLICT, text) from error


_PATTERNS: Final = [
    (route, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))) for route in ROUTES
]

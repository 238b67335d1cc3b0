"""Dispatches a request to the handler of its route, and turns errors into answers."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from ipc import ChannelError, UnknownDeadLetter
from ipc.files import in_words
from supervisor.admin.backend import Backend
from supervisor.admin.http import Answer, HttpError, Request, Stream
from supervisor.admin.route import Route
from supervisor.admin.routes import ROUTES
from supervisor.config import ConfigError
from supervisor.fleet.control import NotPossible, UnknownModule
from supervisor.telemetry.crash_reports import UnknownReport


class Router:
    """The dispatcher of requests to the handlers of their routes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def respond(self, request: Request) -> Answer | Stream:
        """Return the answer to a request; raises HttpError."""
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
            text = f"method {request.method} not allowed for {request.path} (allowed: {allow})"
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text, ("Allow", allow))
        text = f"no such path: {request.path} (/openapi.json lists all paths)"
        raise HttpError(HTTPStatus.NOT_FOUND, text)

    async def _use(self, route: Route, request: Request) -> Answer | Stream:
        if not (route.open or request.trusted):
            raise HttpError(
                HTTPStatus.FORBIDDEN,
                f"{route.method} {route.path} needs the token of [admin] token_file over TCP "
                "(Authorization: Bearer TOKEN); use it, or the Unix socket",
            )
        try:
            return await route.handler(self._backend, request)
        except (UnknownModule, UnknownReport, UnknownDeadLetter) as error:
            raise HttpError(HTTPStatus.NOT_FOUND, str(error)) from error
        except (NotPossible, ChannelError) as error:
            raise HttpError(HTTPStatus.CONFLICT, str(error)) from error
        except ConfigError as error:
            text = f"nothing has changed: {error}"
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, text) from error
        except OSError as error:
            text = f"nothing has changed: {in_words(error)}"
            raise HttpError(HTTPStatus.CONFLICT, text) from error


_PATTERNS: Final = [
    (route, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))) for route in ROUTES
]

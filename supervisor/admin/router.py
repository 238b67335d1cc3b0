"""Dispatches a request to the handler of its route, and turns errors into answers."""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from ipc import ChannelError, UnknownDeadLetter
from supervisor.admin.backend import Backend
from supervisor.admin.http import Answer, HttpError, Request, Stream
from supervisor.admin.route import Route
from supervisor.admin.routes import ROUTES
from supervisor.config import ConfigError
from supervisor.fleet.control import NotPossible, UnknownModule
from supervisor.telemetry.crash_reports import UnknownReport


class Router:
    """Dispatches requests to the routes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

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
            return await route.handler(self._backend, request)
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

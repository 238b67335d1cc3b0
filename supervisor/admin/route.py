"""The description of one route, for the router and for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from supervisor.admin.backend import Backend
from supervisor.admin.http import JSON, Answer, Request, Stream

Handler = Callable[[Backend, Request], Awaitable[Answer | Stream]]


@dataclass(frozen=True)
class Route:
    """One endpoint; an `open` one serves untrusted clients too."""

    method: str
    path: str
    summary: str
    handler: Handler
    returns: Any = None
    """the type of the JSON answer"""
    type: str = JSON
    stream: str = ""
    """the type of the answer with `follow`"""
    query: tuple[str, ...] = ()
    open: bool = False
    status: HTTPStatus = HTTPStatus.OK
    otherwise: HTTPStatus | None = None
    """another status, no error, that an answer of the same type may have"""

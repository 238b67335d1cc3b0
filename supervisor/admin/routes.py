"""What there is to ask and to do: one table, from which the OpenAPI document is made, too."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipc import ChannelError, DeadLetter, UnknownDeadLetter
from supervisor.admin import openapi
from supervisor.admin.http import JSON, JSON_LINES, TEXT, Answer, HttpError, Request, Stream
from supervisor.config import ConfigError
from supervisor.control import Control, NotPossible, UnknownModule
from supervisor.crashes import CrashReport, UnknownReport
from supervisor.events import Event
from supervisor.output import Output, last_lines
from supervisor.reload import Changes
from supervisor.states import State
from supervisor.status import ModuleStatus, Status
from supervisor.unit import Unit

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor

_LOG_LINES: Final = 200
_SLOWEST_FOLLOWER: Final = 1000
"""pieces that wait for who follows a stream, before it is ended"""

Handler = Callable[["Router", Request], Awaitable[Answer | Stream]]


@dataclass(frozen=True)
class Route:
    """One thing to ask or to do; `open` ones are answered without trust."""

    method: str
    path: str
    summary: str
    handler: Handler
    returns: Any = None
    """the type of the JSON answer"""
    type: str = JSON
    query: tuple[str, ...] = ()
    open: bool = False
    status: HTTPStatus = HTTPStatus.OK


class LogLine(msgspec.Struct, frozen=True):
    """One line that a module, or the supervisor, has written."""

    module: str
    line: str


class Stopping(msgspec.Struct, frozen=True):
    """Who is about to end."""

    pid: int


class Router:
    """Finds the route of a request, and lets it answer."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.control = Control(supervisor)
        self.closed = asyncio.Event()

    def close(self) -> None:
        """End the streams."""
        self.closed.set()

    async def respond(self, request: Request) -> Answer | Stream:
        """Answer a request; HttpError for what cannot be."""
        allowed = []
        for route, pattern in _PATTERNS:
            match = pattern.fullmatch(request.path)
            if match and route.method == request.method:
                return await self._use(route, replace(request, names=match.groupdict()))
            if match:
                allowed.append(route.method)
        if allowed:
            text = f"{request.path} does not do {request.method}, but {', '.join(allowed)}"
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, text)
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


# Looking


async def _status(router: Router, _: Request) -> Answer:
    return Answer(router.supervisor.status())


async def _livez(_router: Router, _: Request) -> Answer:
    return Answer("ok")


async def _readyz(router: Router, request: Request) -> Answer:
    """List the modules as Kubernetes lists checks (/readyz?verbose)."""
    units = router.supervisor.units.values()
    ready = all(unit.state is State.READY for unit in units) and not router.supervisor.stopping
    lines = [
        f"[+]{unit.name} ok"
        if unit.state is State.READY
        else f"[-]{unit.name} failed: {unit.state}{f' ({unit.reason})' if unit.reason else ''}"
        for unit in units
    ]
    lines.append("readyz check passed" if ready else "readyz check failed")
    text = "\n".join(lines) + "\n" if "verbose" in request.query or not ready else "ok"
    return Answer(text, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def _metrics(router: Router, _: Request) -> Answer:
    from supervisor import metrics

    return Answer(metrics.render(router.supervisor), type=metrics.CONTENT_TYPE)


async def _openapi(_router: Router, _: Request) -> Answer:
    return Answer(openapi.document(ROUTES))


async def _events(router: Router, request: Request) -> Answer | Stream:
    log = router.supervisor.events
    module = request.query.get("module", "")
    past = log.since(_number(request, "since", 0), module)
    if not _flag(request, "follow"):
        return Answer(past)
    pieces: asyncio.Queue[bytes] = asyncio.Queue(_SLOWEST_FOLLOWER)

    def follow(event: Event) -> None:
        if module in {"", event.module}:
            _offer(pieces, _line(event))

    log.followers.append(follow)
    for event in past:
        _offer(pieces, _line(event))
    return Stream(_pieces(router, pieces, lambda: log.followers.remove(follow)), JSON_LINES)


async def _logs(router: Router, request: Request) -> Answer | Stream:
    supervisor = router.supervisor
    module = request.query.get("module", "")
    outputs: dict[str, Output] = {unit.name: unit.output for unit in supervisor.units.values()}
    outputs["supervisor"] = supervisor.own_output
    if module and module not in outputs:
        raise UnknownModule(f"no module {module!r} runs here (known: {', '.join(outputs)})")
    last = _number(request, "lines", _LOG_LINES)
    asked = [outputs[module]] if module else list(outputs.values())
    past = last_lines(last, *(output.recent for output in asked))
    text = "".join(f"{line}\n" for line in past)
    if not _flag(request, "follow"):
        return Answer(text)
    pieces: asyncio.Queue[bytes] = asyncio.Queue(_SLOWEST_FOLLOWER)

    def follow(name: str, data: bytes) -> None:
        if module in {"", name}:
            _offer(pieces, data)

    supervisor.output_followers.append(follow)
    _offer(pieces, text.encode())
    remove = supervisor.output_followers.remove
    return Stream(_pieces(router, pieces, lambda: remove(follow)), TEXT)


async def _crashes(router: Router, request: Request) -> Answer:
    return Answer(router.supervisor.crashes.reports(request.query.get("module", "")))


async def _crash(router: Router, request: Request) -> Answer:
    return Answer(router.supervisor.crashes.get(request.names["id"]))


async def _dead_letters(router: Router, _: Request) -> Answer:
    return Answer(router.supervisor.dead_letters.letters())


async def _dead_letter(router: Router, request: Request) -> Answer:
    return Answer(router.supervisor.dead_letters.get(request.names["id"]))


# Doing


async def _replay(router: Router, request: Request) -> Answer:
    return Answer(await router.control.replay(request.names["id"]))


async def _drop(router: Router, request: Request) -> Answer:
    letter = router.supervisor.dead_letters.get(request.names["id"])
    router.supervisor.dead_letters.drop(letter.id)
    return Answer(letter)


def _verb(name: str) -> Handler:
    async def handler(router: Router, request: Request) -> Answer:
        verb: Callable[[str], Awaitable[Unit]] = getattr(router.control, name)
        unit = await verb(request.names["module"])
        status = next(m for m in router.supervisor.status().modules if m.name == unit.name)
        return Answer(status)

    return handler


async def _enable(router: Router, request: Request) -> Answer:
    return Answer(await router.control.enable(request.names["module"]))


async def _disable(router: Router, request: Request) -> Answer:
    return Answer(await router.control.disable(request.names["module"]))


async def _reload(router: Router, _: Request) -> Answer:
    return Answer(await router.control.reload())


async def _stop(router: Router, _: Request) -> Answer:
    import signal

    router.supervisor.shutdown.begin(signal.SIGTERM)
    return Answer(Stopping(router.supervisor.pid), HTTPStatus.ACCEPTED)


# What they share


def _offer(pieces: asyncio.Queue[bytes], piece: bytes) -> None:
    """Let a follower have a piece; one that is too slow loses it, and sees the gap."""
    if not pieces.full():
        pieces.put_nowait(piece)


async def _pieces(
    router: Router, pieces: asyncio.Queue[bytes], end: Callable[[], None]
) -> AsyncIterator[bytes]:
    closed = asyncio.create_task(router.closed.wait())
    try:
        while not closed.done():
            piece = asyncio.create_task(pieces.get())
            await asyncio.wait([piece, closed], return_when=asyncio.FIRST_COMPLETED)
            if piece.done():
                yield piece.result()
            else:
                piece.cancel()
        while not pieces.empty():
            yield pieces.get_nowait()
    finally:
        closed.cancel()
        end()


def _line(event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def _flag(request: Request, name: str) -> bool:
    return request.query.get(name, "false") in {"", "1", "true"}


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal():
        raise HttpError(HTTPStatus.BAD_REQUEST, f"{name}={text!r} is not a number")
    return int(text)


ROUTES: Final = (
    Route("GET", "/status", "Show everything.", _status, Status, open=True),
    Route("GET", "/livez", "Say that the supervisor is alive.", _livez, type=TEXT, open=True),
    Route(
        "GET",
        "/readyz",
        "Say whether all modules are ready; 503 if not.",
        _readyz,
        type=TEXT,
        query=("verbose",),
        open=True,
    ),
    Route("GET", "/metrics", "All metrics, for Prometheus.", _metrics, type=TEXT, open=True),
    Route(
        "GET",
        "/events",
        "List the transitions of modules; with follow, as a stream of JSON lines.",
        _events,
        list[Event],
        query=("module", "since", "follow"),
        open=True,
    ),
    Route("GET", "/openapi.json", "This document.", _openapi, dict[str, Any], open=True),
    Route(
        "GET",
        "/logs",
        "The last lines that modules and the supervisor wrote; with follow, as a stream.",
        _logs,
        type=TEXT,
        query=("module", "lines", "follow"),
    ),
    Route("GET", "/crashes", "List crash reports.", _crashes, list[CrashReport], query=("module",)),
    Route("GET", "/crashes/{id}", "Show one crash report.", _crash, CrashReport),
    Route("GET", "/dead-letters", "List dead letters.", _dead_letters, list[DeadLetter]),
    Route("GET", "/dead-letters/{id}", "Show one dead letter.", _dead_letter, DeadLetter),
    Route(
        "POST",
        "/dead-letters/{id}/replay",
        "Put its message back on the channel.",
        _replay,
        DeadLetter,
    ),
    Route("DELETE", "/dead-letters/{id}", "Remove it for good.", _drop, DeadLetter),
    Route(
        "POST", "/modules/{module}/restart", "Replace its process.", _verb("restart"), ModuleStatus
    ),
    Route("POST", "/modules/{module}/start", "Start it.", _verb("start"), ModuleStatus),
    Route("POST", "/modules/{module}/stop", "Stop it.", _verb("stop"), ModuleStatus),
    Route("POST", "/modules/{module}/enable", "Run it until the next reload.", _enable, Changes),
    Route(
        "POST",
        "/modules/{module}/disable",
        "Do without it until the next reload.",
        _disable,
        Changes,
    ),
    Route("POST", "/reload", "Read the configuration again.", _reload, Changes),
    Route("POST", "/stop", "Stop cloudcore.", _stop, Stopping, status=HTTPStatus.ACCEPTED),
)

_PATTERNS: Final = [
    (route, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))) for route in ROUTES
]

"""All routes in one table, from which the OpenAPI document is made as well."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ipc import DeadLetter
from supervisor.admin import openapi, status
from supervisor.admin.backend import Backend
from supervisor.admin.http import JSON_LINES, TEXT, Answer, HttpError, Request, Stream
from supervisor.admin.route import Handler, Route
from supervisor.admin.status import ModuleStatus, Status, overall_state, without_traces
from supervisor.admin.streams import Feed
from supervisor.fleet.control import UnknownModule
from supervisor.fleet.reload import Changes
from supervisor.telemetry.crash_reports import CrashReport
from supervisor.telemetry.escaping import to_json
from supervisor.telemetry.output import Output, last_lines
from supervisor.telemetry.state_changes import StateChange
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

_LOG_LINES: Final = 200


class Stopping(msgspec.Struct, frozen=True):
    """The process that is about to exit."""

    pid: int


# Reading


async def _status(backend: Backend, request: Request) -> Answer:
    document = status.render(backend.fleet)
    return Answer(document if request.trusted else without_traces(document))


async def _livez(_backend: Backend, _: Request) -> Answer:
    return Answer("ok")


async def _readyz(backend: Backend, request: Request) -> Answer:
    """List the modules as Kubernetes lists checks (/readyz?verbose)."""
    units = backend.fleet.units.values()
    state = overall_state(backend.fleet)
    ready = state == "running"
    lines = [
        f"[+]{unit.name} ok"
        if unit.state is State.READY
        else f"[-]{unit.name} failed: {unit.state}{f' ({unit.reason})' if unit.reason else ''}"
        for unit in units
    ]
    if not ready and all(unit.state is State.READY for unit in units):
        lines.append(f"[-]cloudcore failed: {state}")
    lines.append("readyz check passed" if ready else "readyz check failed")
    text = "\n".join(lines) + "\n" if "verbose" in request.query or not ready else "ok"
    return Answer(text, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def _metrics(backend: Backend, _: Request) -> Answer:
    from supervisor.admin import metrics

    return Answer(metrics.render(backend.fleet), type=metrics.CONTENT_TYPE)


async def _openapi(_backend: Backend, _: Request) -> Answer:
    return Answer(openapi.document(ROUTES))


async def _events(backend: Backend, request: Request) -> Answer | Stream:
    log = backend.fleet.state_changes
    module = request.query.get("module", "")
    past = log.since(_number(request, "since", 0), module)
    if not _flag(request, "follow"):
        return Answer(past)

    def subscribe(feed: Feed) -> Callable[[], None]:
        def follow(change: StateChange) -> None:
            if module in {"", change.module}:
                feed.offer(to_json(change) + b"\n")

        for change in past:
            follow(change)
        log.followers.append(follow)
        return lambda: log.followers.remove(follow)

    return backend.streams(request).open(JSON_LINES, subscribe)


async def _logs(backend: Backend, request: Request) -> Answer | Stream:
    fleet = backend.fleet
    module = request.query.get("module", "")
    outputs: dict[str, Output] = {unit.name: unit.output for unit in fleet.units.values()}
    outputs["supervisor"] = fleet.own_output
    if module in fleet.disabled:
        raise UnknownModule(f"module {module} is disabled, and its output is not kept")
    if module and module not in outputs:
        raise UnknownModule(f"no module {module!r} is running (running: {', '.join(outputs)})")
    asked = [outputs[module]] if module else list(outputs.values())
    past = last_lines(_number(request, "lines", _LOG_LINES), *(each.recent for each in asked))
    text = "".join(f"{line}\n" for line in past)
    if not _flag(request, "follow"):
        return Answer(text)

    def subscribe(feed: Feed) -> Callable[[], None]:
        def follow(name: str, data: bytes) -> None:
            if module in {"", name}:
                feed.offer(data)

        feed.offer(text.encode())
        fleet.output_followers.append(follow)
        return lambda: fleet.output_followers.remove(follow)

    return backend.streams(request).open(TEXT, subscribe)


async def _crashes(backend: Backend, request: Request) -> Answer:
    return Answer(backend.fleet.crashes.reports(request.query.get("module", "")))


async def _crash(backend: Backend, request: Request) -> Answer:
    return Answer(backend.fleet.crashes.get(request.names["id"]))


async def _dead_letters(backend: Backend, _: Request) -> Answer:
    return Answer(backend.fleet.dead_letters.letters())


async def _dead_letter(backend: Backend, request: Request) -> Answer:
    return Answer(backend.fleet.dead_letters.get(request.names["id"]))


# Changing


async def _replay(backend: Backend, request: Request) -> Answer:
    return Answer(await backend.control(request).replay(request.names["id"]))


async def _drop(backend: Backend, request: Request) -> Answer:
    return Answer(await backend.control(request).drop(request.names["id"]))


def _verb(name: str) -> Handler:
    async def handler(backend: Backend, request: Request) -> Answer:
        verb: Callable[[str], Awaitable[Unit]] = getattr(backend.control(request), name)
        module = request.names["module"]
        await verb(module)
        return Answer(next(m for m in status.render(backend.fleet).modules if m.name == module))

    return handler


async def _enable(backend: Backend, request: Request) -> Answer:
    return Answer(await backend.control(request).enable(request.names["module"]))


async def _disable(backend: Backend, request: Request) -> Answer:
    return Answer(await backend.control(request).disable(request.names["module"]))


async def _reload(backend: Backend, request: Request) -> Answer:
    return Answer(await backend.control(request).reload())


async def _stop(backend: Backend, _: Request) -> Answer:
    backend.shutdown.begin(signal.SIGTERM)
    return Answer(Stopping(os.getpid()), HTTPStatus.ACCEPTED)


# What they share


def _flag(request: Request, name: str) -> bool:
    text = request.query.get(name, "false")
    if text not in {"", "1", "true", "0", "false"}:
        text = f"{name}={text!r} is not allowed (allowed: true, false)"
        raise HttpError(HTTPStatus.BAD_REQUEST, text)
    return text in {"", "1", "true"}


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or len(text) > openapi.MOST_DIGITS:
        text = f"{name}={text!r} is not a number of up to {openapi.MOST_DIGITS} digits"
        raise HttpError(HTTPStatus.BAD_REQUEST, text)
    return int(text)


ROUTES: Final = (
    Route("GET", "/status", "Show the state of every module.", _status, Status, open=True),
    Route("GET", "/livez", "Check that the supervisor is alive.", _livez, type=TEXT, open=True),
    Route(
        "GET",
        "/readyz",
        "Check whether all modules are ready; 503 if not.",
        _readyz,
        type=TEXT,
        query=("verbose",),
        open=True,
        otherwise=HTTPStatus.SERVICE_UNAVAILABLE,
    ),
    Route("GET", "/metrics", "Show all metrics, for Prometheus.", _metrics, type=TEXT, open=True),
    Route(
        "GET",
        "/events",
        "List the state changes of modules; with follow, as a stream of JSON lines.",
        _events,
        list[StateChange],
        stream=JSON_LINES,
        query=("module", "since", "follow"),
        open=True,
    ),
    Route("GET", "/openapi.json", "Show this document.", _openapi, dict[str, Any], open=True),
    Route(
        "GET",
        "/logs",
        "Show the last lines that modules and the supervisor wrote; with follow, as a stream.",
        _logs,
        type=TEXT,
        stream=TEXT,
        query=("module", "lines", "follow"),
    ),
    Route("GET", "/crashes", "List crash reports.", _crashes, list[CrashReport], query=("module",)),
    Route("GET", "/crashes/{id}", "Show one crash report.", _crash, CrashReport),
    Route("GET", "/dead-letters", "List dead letters.", _dead_letters, list[DeadLetter]),
    Route("GET", "/dead-letters/{id}", "Show one dead letter.", _dead_letter, DeadLetter),
    Route(
        "POST",
        "/dead-letters/{id}/replay",
        "Put the message back into its channel.",
        _replay,
        DeadLetter,
    ),
    Route("DELETE", "/dead-letters/{id}", "Delete one dead letter.", _drop, DeadLetter),
    Route(
        "POST",
        "/modules/{module}/restart",
        "Replace the module's process.",
        _verb("restart"),
        ModuleStatus,
    ),
    Route("POST", "/modules/{module}/start", "Start the module.", _verb("start"), ModuleStatus),
    Route("POST", "/modules/{module}/stop", "Stop the module.", _verb("stop"), ModuleStatus),
    Route(
        "POST",
        "/modules/{module}/enable",
        "Run the module until the next reload or restart.",
        _enable,
        Changes,
    ),
    Route(
        "POST",
        "/modules/{module}/disable",
        "Do without the module until the next reload or restart.",
        _disable,
        Changes,
    ),
    Route("POST", "/reload", "Read the configuration again.", _reload, Changes),
    Route("POST", "/stop", "Stop cloudcore.", _stop, Stopping, status=HTTPStatus.ACCEPTED),
)

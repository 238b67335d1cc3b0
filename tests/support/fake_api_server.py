"""A fake API server that misbehaves on demand, and the answers that it can give."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from supervisor.api import KubernetesSettings, Settings

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeServer:
    """Answers each request with `always`, or with the next of `answers`, and keeps the requests."""

    url: str = ""
    answers: asyncio.Queue[Answer] = field(default_factory=asyncio.Queue)
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    always: Answer | None = None

    def then(self, *answers: Answer) -> None:
        for answer in answers:
            self.answers.put_nowait(answer)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await (self.always or await self.answers.get())(request)

    def settings(self, directory: Path, **options: Any) -> Settings:
        options = {"master": self.url, "qps": 0.0, **options}
        return Settings(directory, directory, KubernetesSettings(**options))


def replies(body: Any, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return web.Response(body=data, status=status, headers=headers)

    return answer


def refuses(code: int, reason: str, message: str = "no", **headers: str) -> Answer:
    status = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return replies(status, code, **headers)


def hangs_up() -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return answer


def streams(*events: Any, until: asyncio.Event | None = None) -> Answer:
    """Answer a watch with these events, then end it, or keep it open until told."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            data = event if isinstance(event, bytes) else msgspec.json.encode(event) + b"\n"
            await response.write(data)
        if until:
            await until.wait()
        return response

    return answer


def listing(*items: Any, version: str = "10", token: str = "") -> Answer:
    return replies({"metadata": {"resourceVersion": version, "continue": token}, "items": items})


def pod(name: str, version: int, uid: str = "", **more: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "default",
        "name": name,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {"metadata": metadata, **more}

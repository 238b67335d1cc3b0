"""Watches and requests share one pool of connections."""

import asyncio
from contextlib import aclosing
from typing import Any

from aiohttp import web

from modules.common.kube import CONFIGMAPS, PODS, SECRETS, KubeClient
from tests.support.fake_api_server import Answer, FakeServer, replies, streams


async def test_a_watch_holds_a_connection_and_requests_share_others(
    server: FakeServer, client: KubeClient
) -> None:
    end = asyncio.Event()
    seen: list[Any] = []

    def noting(answer: Answer) -> Answer:
        async def noted(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            seen.append(request.transport.get_extra_info("peername"))
            return await answer(request)

        return noted

    answers = [streams(until=end), streams(until=end), *(replies({}) for _ in range(5))]
    server.then(*map(noting, answers))
    opened = [asyncio.Event(), asyncio.Event()]

    async def watch(resource: Any, is_open: asyncio.Event) -> None:
        events = client.watch(resource, resource_version="1", on_open=is_open.set)
        async with aclosing(events):
            async for _ in events:
                raise AssertionError

    async with asyncio.TaskGroup() as tasks:
        for resource, is_open in zip((PODS, SECRETS), opened, strict=True):
            tasks.create_task(watch(resource, is_open))
            await is_open.wait()
        for _ in range(5):
            await client.get(CONFIGMAPS, "c", "default")
        end.set()
    assert len(set(seen)) == 3
    assert len(set(seen[2:])) == 1

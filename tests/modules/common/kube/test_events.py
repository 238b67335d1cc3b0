"""Kubernetes Events: counted, limited, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from modules.common.kube import (
    EVENTS,
    NODES,
    PODS,
    AlreadyExists,
    EventRecorder,
    KubeClient,
    reference,
)
from modules.common.kube import events as events_module
from modules.common.pki.certificates import Pki
from tests.support.apiserver import embedded_api
from tests.support.fake_api_server import FakeServer, refuses, replies
from tests.support.fakekube import FakeKube
from tests.support.waiting import DEADLINE

POD = {"metadata": {"name": "web", "namespace": "default", "uid": "u1", "resourceVersion": "7"}}
NODE = {"metadata": {"name": "edge-1", "uid": "u2"}}
ABOUT_POD, ABOUT_NODE = reference(PODS, POD), reference(NODES, NODE)


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    async with embedded_api(tmp_path, pki) as client:
        yield client


@asynccontextmanager
async def recording(client: KubeClient) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(client, "tester")
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), task.exception()


async def until(api: KubeClient, accept: Callable[[list[Any]], bool]) -> list[Any]:
    async with asyncio.timeout(DEADLINE):
        while True:
            found = (await api.list(EVENTS)).items
            if accept(found):
                return found
            await asyncio.sleep(0.01)


async def test_what_an_event_says(api: KubeClient) -> None:
    async with recording(api) as recorder:
        recorder.event(ABOUT_POD, "Warning", "Strange", "it is strange")
        recorder.event(ABOUT_NODE, "Normal", "Fine", "it is fine")
        found = await until(api, lambda found: len(found) == 2)
    node, pod = sorted(found, key=lambda event: event["reason"])
    assert pod["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web",
        "namespace": "default",
        "uid": "u1",
        "resourceVersion": "7",
    }
    assert (pod["type"], pod["reason"], pod["message"]) == ("Warning", "Strange", "it is strange")
    assert (pod["source"], pod["count"]) == ({"component": "tester"}, 1)
    assert pod["firstTimestamp"] == pod["lastTimestamp"]
    assert (node["metadata"]["namespace"], node["involvedObject"]["kind"]) == ("default", "Node")


async def test_the_same_again_is_counted(api: KubeClient) -> None:
    async with recording(api) as recorder:
        for _ in range(3):
            recorder.event(ABOUT_POD, "Normal", "A", "m")
        recorder.event(ABOUT_POD, "Normal", "A", "another")
        await until(api, lambda found: {e["count"] for e in found} == {3, 1})
        recorder.event(ABOUT_POD, "Normal", "A", "m")
        await until(api, lambda found: {e["count"] for e in found} == {4, 1})
    async with recording(api) as successor:
        successor.event(ABOUT_POD, "Normal", "A", "m")
        await until(api, lambda found: {e["count"] for e in found} == {5, 1})
        successor.event(ABOUT_POD, "Normal", "A", "m")
        await until(api, lambda found: {e["count"] for e in found} == {6, 1})


async def test_too_much_about_one_object_is_dropped(api: KubeClient) -> None:
    async with recording(api) as recorder:
        for number in range(40):
            recorder.event(ABOUT_POD, "Normal", "A", f"m{number}")
        recorder.event(ABOUT_NODE, "Normal", "A", "m")
        await until(api, lambda found: len(found) == 26)
        assert recorder.dropped == 15


async def test_api_that_is_away_is_waited_for(server: FakeServer, client: KubeClient) -> None:
    server.then(refuses(503, "ServiceUnavailable"), refuses(429, "TooManyRequests"), replies({}))
    async with recording(client) as recorder:
        recorder.event(ABOUT_POD, "Normal", "A", "m")
        async with asyncio.timeout(DEADLINE):
            while len(server.bodies) < 3:
                await asyncio.sleep(0.01)
    assert recorder.dropped == 0


async def test_what_waits_is_bounded_and_what_is_refused_is_told(
    server: FakeServer,
    client: KubeClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, not for each Event."""
    monkeypatch.setattr(events_module, "_WAITING", 3)
    server.then(*[refuses(403, "Forbidden", "no rights")] * 2, replies({}))
    recorder = EventRecorder(client, "tester")
    for number in range(5):
        recorder.event(ABOUT_POD, "Normal", "A", f"m{number}")
    assert recorder.dropped == 2
    task = asyncio.create_task(recorder.run())
    async with asyncio.timeout(DEADLINE):
        while len(server.bodies) < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert recorder.dropped == 4
    (line,) = caplog.messages
    assert line.startswith("cannot write Events, first A: post events default/web")
    assert line.endswith("grant the rights of deploy/rbac/cloudcore.yaml")


async def test_what_is_said_while_an_event_is_found_counts() -> None:
    """The API has 5 of an earlier run; it is said again before it has answered with that."""

    class Api(FakeKube):
        async def create(self, *_: Any) -> Any:
            raise AlreadyExists(409, "AlreadyExists", "it is there")

        async def patch(self, *args: Any, **options: Any) -> Any:
            if not self.patches:
                recorder.event(ABOUT_POD, "Normal", "R", "m")
            await super().patch(*args, **options)
            return {"count": 5}

    api = Api("test")
    recorder = EventRecorder(cast("KubeClient", api), "test")
    recorder.event(ABOUT_POD, "Normal", "R", "m")
    running = asyncio.create_task(recorder.run())
    async with asyncio.timeout(DEADLINE):
        while not any(patch.get("count") == 7 for _, _, patch in api.patches):
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("answer", [{"count": "many"}, {}, None, 3])
async def test_an_answer_of_any_shape_ends_no_recorder(answer: Any) -> None:
    class Api(FakeKube):
        async def create(self, *_: Any) -> Any:
            raise AlreadyExists(409, "AlreadyExists", "it is there")

        async def patch(self, *args: Any, **options: Any) -> Any:
            await super().patch(*args, **options)
            return answer

    api = Api("test")
    recorder = EventRecorder(cast("KubeClient", api), "test")
    running = asyncio.create_task(recorder.run())
    for message in ("a", "b"):
        recorder.event(ABOUT_POD, "Normal", "R", message)
    async with asyncio.timeout(DEADLINE):
        while len(api.patches) < 2:
            await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])

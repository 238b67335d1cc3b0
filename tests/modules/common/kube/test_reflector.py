import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from modules.common.kube import PODS, KubeClient, Reflector, WatchEvent
from modules.common.kube.backoff import Backoff
from tests.support.fake_api_server import FakeServer, hangs_up, listing, pod, refuses, streams
from tests.support.waiting import DEADLINE, until


class Running:
    """A reflector that runs, and what it has told."""

    def __init__(self, reflector: Reflector, events: "asyncio.Queue[WatchEvent]") -> None:
        self.reflector = reflector
        self._events = events

    async def told(self, count: int) -> list[tuple[str, str, str]]:
        async with asyncio.timeout(DEADLINE):
            return [_short(await self._events.get()) for _ in range(count)]

    def nothing_more(self) -> bool:
        return self._events.empty()


def _short(event: WatchEvent) -> tuple[str, str, str]:
    return event.type, event.object["metadata"]["name"], event.resource_version


@asynccontextmanager
async def running(client: KubeClient, **options: Any) -> AsyncIterator[Running]:
    events: asyncio.Queue[WatchEvent] = asyncio.Queue()
    options = {"backoff": Backoff(initial=0.001), **options}
    reflector = Reflector(client, PODS, events.put_nowait, **options)
    task = asyncio.create_task(reflector.run())
    try:
        yield Running(reflector, events)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()


def added(obj: Any) -> dict[str, Any]:
    return {"type": "ADDED", "object": obj}


def modified(obj: Any) -> dict[str, Any]:
    return {"type": "MODIFIED", "object": obj}


def deleted(obj: Any) -> dict[str, Any]:
    return {"type": "DELETED", "object": obj}


async def test_list_then_watch(server: FakeServer, client: KubeClient) -> None:
    end = asyncio.Event()
    server.then(
        listing(pod("a", 1), pod("b", 2), version="10"),
        streams(modified(pod("a", 11)), added(pod("c", 12)), deleted(pod("b", 13)), until=end),
    )
    async with running(client) as run:
        assert await run.told(5) == [
            ("ADDED", "a", "1"),
            ("ADDED", "b", "2"),
            ("MODIFIED", "a", "11"),
            ("ADDED", "c", "12"),
            ("DELETED", "b", "13"),
        ]
        assert run.reflector.is_synced
        assert set(run.reflector.store) == {("default", "a"), ("default", "c")}
        assert run.reflector.get("a", "default") == pod("a", 11)
    assert server.requests[1].query["resourceVersion"] == "10"


async def test_modified_carries_the_old_one(server: FakeServer, client: KubeClient) -> None:
    events: list[WatchEvent] = []
    reflector = Reflector(client, PODS, events.append)
    server.then(listing(pod("a", 1)), streams(modified(pod("a", 2))))
    task = asyncio.create_task(reflector.run())
    await until(lambda: len(events) == 2)
    task.cancel()
    await asyncio.wait([task])
    assert events[1] == WatchEvent("MODIFIED", pod("a", 2), pod("a", 1))


async def test_synced_with_nothing_there(server: FakeServer, client: KubeClient) -> None:
    server.then(listing())
    async with running(client) as run, asyncio.timeout(DEADLINE):
        await run.reflector.synced()


async def test_resumes_where_the_watch_broke(server: FakeServer, client: KubeClient) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}}
    server.then(
        listing(version="10"),
        streams(added(pod("a", 11)), bookmark),
        *[hangs_up()] * 2,
        refuses(503, "ServiceUnavailable"),
        streams(added(pod("b", 21)), until=asyncio.Event()),
    )
    async with running(client) as run:
        assert await run.told(2) == [("ADDED", "a", "11"), ("ADDED", "b", "21")]
        assert run.reflector.statistics.lists == 1
        assert run.reflector.statistics.bookmarks == 1
        assert run.reflector.statistics.errors >= 2
        assert client.health.failing_for == 0
    assert server.requests[-1].query["resourceVersion"] == "20"


async def test_an_event_without_a_version_leaves_the_place_of_the_watch(
    server: FakeServer, client: KubeClient
) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {}}}
    server.then(
        listing(version="10"),
        streams(added(pod("a", 11)), bookmark),
        streams(added(pod("b", 12)), until=asyncio.Event()),
    )
    async with running(client) as run:
        assert await run.told(2) == [("ADDED", "a", "11"), ("ADDED", "b", "12")]
        assert run.reflector.statistics.lists == 1
    assert server.requests[-1].query["resourceVersion"] == "11"


async def test_repeated_event_is_told_once(server: FakeServer, client: KubeClient) -> None:
    server.then(
        listing(pod("a", 5)),
        streams(added(pod("a", 5)), added(pod("b", 6)), until=asyncio.Event()),
    )
    async with running(client) as run:
        assert await run.told(2) == [("ADDED", "a", "5"), ("ADDED", "b", "6")]


async def test_gone_relists_and_tells_the_difference(
    server: FakeServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modules")
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    server.then(
        listing(pod("same", 1), pod("changed", 2), pod("gone", 3), pod("replaced", 4, "old")),
        streams({"type": "ERROR", "object": status}),
        listing(pod("same", 1), pod("changed", 12), pod("new", 13), pod("replaced", 14, "new")),
        streams(until=asyncio.Event()),
    )
    async with running(client) as run:
        await run.told(4)
        assert await run.told(5) == [
            ("DELETED", "gone", "3"),
            ("MODIFIED", "changed", "12"),
            ("ADDED", "new", "13"),
            ("DELETED", "replaced", "4"),
            ("ADDED", "replaced", "14"),
        ]
        assert run.reflector.statistics.relists_gone == 1
        assert run.nothing_more()
    assert not [each for each in caplog.records if each.name.startswith("modules")]  # routine


async def test_watches_that_break_off_at_once_are_tried_ever_less_often(
    server: FakeServer, client: KubeClient
) -> None:
    """Each has everything listed anew; that the list works does not mean that the watch does."""

    class Pauses(Backoff):
        asked = resets = 0

        def next(self, at_least: float | None = None) -> float:
            self.asked += 1
            return 0.001

        def reset(self) -> None:
            self.resets += 1

    gone = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    server.then(*[listing(pod("a", 1)), streams(gone)] * 5)
    pauses = Pauses()
    async with running(client, backoff=pauses):
        await until(lambda: pauses.asked >= 5)
    assert pauses.resets == 1  # the first


async def test_gone_in_the_middle_of_pages(server: FakeServer, client: KubeClient) -> None:
    server.then(
        listing(pod("a", 1), token="more"),
        refuses(410, "Expired"),
        listing(pod("b", 2)),
        streams(until=asyncio.Event()),
    )
    async with running(client) as run:
        assert await run.told(1) == [("ADDED", "b", "2")]


async def test_server_restored_from_backup(server: FakeServer, client: KubeClient) -> None:
    status = {
        "kind": "Status",
        "code": 504,
        "reason": "Timeout",
        "message": "Too large resource version",
        "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]},
    }
    server.then(
        listing(version="1000"),
        streams({"type": "ERROR", "object": status}),
        listing(pod("a", 1), version="3"),
    )
    async with running(client) as run:
        assert await run.told(1) == [("ADDED", "a", "1")]


async def test_keep_reduces_and_drops(server: FakeServer, client: KubeClient) -> None:
    def keep(obj: dict[str, Any]) -> dict[str, Any] | None:
        return {"metadata": obj["metadata"]} if obj.get("wanted") else None

    server.then(
        listing(pod("a", 1, wanted=True, bulk="x"), pod("b", 2)),
        streams(
            added(pod("c", 3)),
            modified(pod("b", 4, wanted=True)),
            modified(pod("a", 5)),
            deleted(pod("c", 6)),
            deleted(pod("b", 7, wanted=True)),
        ),
    )
    async with running(client, keep=keep) as run:
        assert await run.told(4) == [
            ("ADDED", "a", "1"),
            ("ADDED", "b", "4"),
            ("DELETED", "a", "1"),
            ("DELETED", "b", "7"),
        ]
        assert run.reflector.store == {}


async def test_resync_lists_again(server: FakeServer, client: KubeClient) -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, end.set)
    server.then(
        listing(pod("a", 1)),
        streams(until=end),
        listing(pod("b", 2)),
        streams(until=asyncio.Event()),
    )
    async with running(client, resync=0.01) as run:
        assert await run.told(3) == [
            ("ADDED", "a", "1"),
            ("DELETED", "a", "1"),
            ("ADDED", "b", "2"),
        ]


async def test_fault_of_the_handler_is_not_swallowed(
    server: FakeServer, client: KubeClient
) -> None:
    def fail(_: WatchEvent) -> None:
        raise RuntimeError("handler")

    server.then(listing(pod("a", 1)))
    async with asyncio.timeout(DEADLINE):
        [outcome] = await asyncio.gather(
            Reflector(client, PODS, fail).run(), return_exceptions=True
        )
    assert isinstance(outcome, RuntimeError)

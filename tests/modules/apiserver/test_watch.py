from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from modules.apiserver.http import watch as watching
from modules.apiserver.http.handlers import Handlers
from modules.apiserver.http.server import Server
from modules.apiserver.http.watch import PlainLines, Watch
from modules.apiserver.meta.objects import Event, make_entry
from modules.apiserver.meta.selectors import Selector, parse_labels
from modules.apiserver.registry.registry import Registry
from modules.apiserver.storage.history import History
from tests.modules.apiserver.api import Api
from tests.modules.apiserver.samples import pod
from tests.support.waiting import DEADLINE, until

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
# Without the one that every namespace has.
OURS = "fieldSelector=metadata.name!=kube-root-ca.crt"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def told(event: Any) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


async def test_a_watch_tells_every_change_in_order(api: Api) -> None:
    listed = await api.call("GET", CONFIGMAPS)
    revision = listed["metadata"]["resourceVersion"]
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={revision}") as watch:
        await api.create(CONFIGMAPS, metadata={"name": "a"})
        await api.create("/api/v1/namespaces/kubeedge/configmaps", metadata={"name": "elsewhere"})
        await api.patch(f"{CONFIGMAPS}/a", {"data": {"k": "v"}})
        await api.call("DELETE", f"{CONFIGMAPS}/a")
        events = [await watch.next() for _ in range(3)]
    assert [told(event) for event in events] == [
        ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"),
    ]  # fmt: skip
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(set(revisions))
    assert events[2]["object"]["data"] == {"k": "v"}


async def test_a_watch_goes_on_from_where_the_last_one_was(api: Api) -> None:
    first = await api.create(CONFIGMAPS, metadata={"name": "a"})
    await api.create(CONFIGMAPS, metadata={"name": "b"})
    revision = first["metadata"]["resourceVersion"]
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={revision}") as watch:
        assert told(await watch.next()) == ("ADDED", "b")


@pytest.mark.parametrize("revision", ["", "&resourceVersion=0"])
async def test_a_watch_without_a_version_begins_with_what_there_is(api: Api, revision: str) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"})
    async with api.watch(f"{CONFIGMAPS}?watch=true&{OURS}{revision}") as watch:
        assert told(await watch.next()) == ("ADDED", "a")
        await api.create(CONFIGMAPS, metadata={"name": "b"})
        assert told(await watch.next()) == ("ADDED", "b")


async def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"})
    query = (
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    )
    async with api.watch(f"{CONFIGMAPS}?{query}&{OURS}") as watch:
        assert told(await watch.next()) == ("ADDED", "a")
        bookmark = await watch.next()
    assert bookmark["type"] == "BOOKMARK"
    metadata = bookmark["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert metadata["resourceVersion"] == str(api.server.store.revision)


async def test_objects_join_and_leave_what_a_watch_selects(api: Api) -> None:
    revision = api.server.store.revision
    query = f"watch=1&resourceVersion={revision}&labelSelector=tier=front"
    async with api.watch(f"{CONFIGMAPS}?{query}") as watch:
        await api.create(CONFIGMAPS, metadata={"name": "a"})
        for tier in ("front", "back", "front"):
            await api.patch(f"{CONFIGMAPS}/a", {"metadata": {"labels": {"tier": tier}}})
        await api.patch(f"{CONFIGMAPS}/a", {"data": {"k": "v"}})
        await api.call("DELETE", f"{CONFIGMAPS}/a")
        types = [(await watch.next())["type"] for _ in range(5)]
    assert types == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]


async def test_a_watch_by_field(api: Api) -> None:
    revision = api.server.store.revision
    query = f"watch=1&resourceVersion={revision}&fieldSelector=spec.nodeName=n1"
    async with api.watch(f"/api/v1/pods?{query}") as watch:
        await api.call("POST", PODS, pod("other", node="n2"), expect=201)
        await api.call("POST", PODS, pod("mine"), expect=201)
        await api.call("POST", f"{PODS}/mine/binding", {"target": {"name": "n1"}}, expect=201)
        assert told(await watch.next()) == ("ADDED", "mine")


async def test_too_old_a_version_is_an_expired_error(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"})
    history = api.server.store.collection("configmaps").history
    history._most_events = 1
    await api.create(CONFIGMAPS, metadata={"name": "b"})
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=1") as watch:
        event = await watch.next()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert await watch.next() is None


async def test_bookmarks_keep_a_quiet_watch_up_to_date(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "bookmark_seconds", 0.01)
    watch = Watch(
        api.server.store,
        api.server.registry.catalog.find("", "v1", "configmaps"),
        "",
        Selector(),
        PlainLines(api.server.registry.catalog.find("", "v1", "configmaps")),
        api.server.store.revision,
        bookmarks=True,
        bookmark_seconds=0.01,
    )
    written: asyncio.Queue[bytes] = asyncio.Queue()
    task = asyncio.create_task(watch.run(written.put))
    await api.create("/api/v1/nodes", metadata={"name": "n"})
    revision = b'"resourceVersion":"%d"' % api.server.store.revision
    async with asyncio.timeout(DEADLINE):
        while revision not in (line := await written.get()):
            assert b'"BOOKMARK"' in line
    watch.stop()
    async with asyncio.timeout(DEADLINE):
        await task


async def test_timeout_seconds_ends_a_watch(api: Api) -> None:
    now = api.server.store.revision
    async with api.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1&resourceVersion={now}") as watch:
        assert await watch.next() is None
    assert api.server.watches == 0


async def test_a_client_that_goes_away_leaves_no_watch_behind(api: Api) -> None:
    async with api.watch(f"{CONFIGMAPS}?watch=1&{OURS}") as _:
        await until(lambda: api.server.watches == 1)
    await until(lambda: api.server.watches == 0)


async def test_stopping_the_server_ends_watches_in_order(api: Api, server: Server) -> None:
    async with api.watch(f"{CONFIGMAPS}?watch=1&{OURS}") as watch:
        await until(lambda: server.watches == 1)
        server._handlers.stop_watches()
        assert await watch.next() is None


async def test_whose_watch_ends_at_the_stop_is_not_accepted_again(
    api: Api, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be cut off once more; in the backlog it waits for the next process."""
    host, port = api.server.url.removeprefix("https://").split(":")
    ended = asyncio.Event()

    def refused(handlers: Handlers) -> None:
        with pytest.raises(ConnectionRefusedError):  # here the socket is nobody else's
            socket.create_connection((host, int(port)))
        ended.set()

    monkeypatch.setattr(Handlers, "stop_watches", refused)
    await server.stop()
    assert ended.is_set()


async def test_watched_tables_tell_the_columns_once(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"k": "v"})
    api.session.headers["Accept"] = TABLE
    async with api.watch(f"{CONFIGMAPS}?watch=1&resourceVersion=0&{OURS}") as watch:
        first = (await watch.next())["object"]
        await api.patch(f"{CONFIGMAPS}/a", {"data": {"m": "w"}})
        second = (await watch.next())["object"]
    assert first["kind"] == second["kind"] == "Table"
    assert [column["name"] for column in first["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert not second["columnDefinitions"]
    assert (first["rows"][0]["cells"][1], second["rows"][0]["cells"][1]) == (1, 2)


async def test_a_client_that_does_not_read_falls_behind_and_is_let_go(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = registry.catalog.find("", "v1", "configmaps")
    history = registry.store.collection("configmaps").history
    history._most_events = 10
    watch = Watch(
        registry.store,
        resource,
        "",
        Selector(parse_labels("!x")),
        PlainLines(resource),
        registry.store.revision,
    )
    stuck, lines = asyncio.Event(), []
    reached = asyncio.Event()

    async def write(data: bytes) -> None:
        lines.append(data)
        reached.set()
        await stuck.wait()

    task = asyncio.create_task(watch.run(write))
    await asyncio.sleep(0)
    registry.create(resource, "default", {"metadata": {"name": "first"}})
    async with asyncio.timeout(DEADLINE):
        await reached.wait()
    for number in range(1000):
        registry.create(resource, "default", {"metadata": {"name": f"c{number}"}})
    assert len(history._events) == 10
    stuck.set()
    async with asyncio.timeout(DEADLINE):
        await task
    assert len(lines) == 2
    assert b'"ERROR"' in lines[1]
    assert b"410" in lines[1]


def test_a_watch_belongs_to_one_history() -> None:
    history = History(0)
    waiting = history.subscribe()
    history.append(Event("ADDED", make_entry(("", "a"), 1, {"metadata": {}}, {}), None))
    assert waiting.is_set()
    history.unsubscribe(waiting)
    waiting.clear()
    history.append(Event("ADDED", make_entry(("", "a"), 2, {"metadata": {}}, {}), None))
    assert not waiting.is_set()
    assert history._most_bytes > watching.BATCH_BYTES

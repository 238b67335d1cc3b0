"""The record in the API: an ObjectSync for each object of an edge of today, cheaply written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    NODES,
    OBJECTSYNCS,
    PODS,
    ApiError,
    BadRequest,
    Gone,
    KubeClient,
    Unreachable,
    syncing,
)
from modules.common.kube.transport import Request, Transport
from modules.common.sync import object_syncs, record
from modules.common.sync.record_in_api import RecordInApi
from modules.common.wire.generations import V1_1, V1_23
from modules.edgecontroller.downstream import registrations
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, Json, configmap, node, pod, using
from .test_delivery import acknowledge, reconnect, register, told

Requests = Counter[tuple[str, str]]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """The number of requests of the controller about ObjectSyncs, by method and path."""
    found: Requests = Counter()
    send = Transport.send

    async def counting(transport: Transport, request: Request) -> Any:
        if transport.module == "edgecontroller" and "objectsyncs" in request.path:
            found[request.method, request.path.rpartition("/")[2].partition(".")[0]] += 1
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", counting)
    return found


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_syncs, "_PAUSE", 0.3)
    monkeypatch.setattr(registrations, "HOLD", 0.0)
    monkeypatch.setattr(registrations, "SETTLE", 0.0)


@pytest.fixture
async def edge(cloud: Cloud) -> AsyncIterator[Cloud]:
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.drain()
        yield cloud


async def kept(cloud: Cloud) -> dict[tuple[str, str], str]:
    """Return the acknowledged version by kind and name of each object."""
    page = await cloud.api.list(OBJECTSYNCS)
    of_cluster = await cloud.api.list(CLUSTEROBJECTSYNCS)
    return {
        (sync["spec"]["objectKind"], sync["spec"]["objectName"]): sync.get("status", {}).get(
            "objectResourceVersion", ""
        )
        for sync in [*page.items, *of_cluster.items]
    }


async def all_seen(cloud: Cloud, count: int) -> None:
    await eventually(
        lambda: kept(cloud),
        lambda found: len(found) == count and not {"", "0"} & set(found.values()),
    )


async def becomes(cloud: Cloud, wanted: dict[tuple[str, str], str]) -> None:
    await eventually(lambda: kept(cloud), lambda found: found == wanted)


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold the controller's requests about ObjectSyncs back."""
    go_on = asyncio.Event()
    send = Transport.send

    async def waiting(transport: Transport, request: Request) -> Any:
        if transport.module == "edgecontroller" and "objectsyncs" in request.path:
            await go_on.wait()
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", waiting)
    yield
    go_on.set()


async def test_a_record_that_takes_long_to_read_does_not_hold_up_the_start(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the first lists: a restart would not make it faster."""
    monkeypatch.setattr(syncing, "PATIENCE", 1.0)
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")
    read, opened = asyncio.Event(), RecordInApi.open

    async def slow(record: RecordInApi) -> None:
        await read.wait()
        await opened(record)

    monkeypatch.setattr(RecordInApi, "open", slow)
    async with cloud.controller(record="objectsync"):
        read.set()
        await cloud.connect(generation=V1_23)
        await cloud.until("insert", f"node/{NODE}/default/pod/p")


async def test_what_an_object_costs_the_api_server(
    edge: Cloud, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(monkeypatch):  # while the edge acknowledges it
        created = await edge.api.create(PODS, pod("p"), "default")
        await acknowledge(edge, await edge.drain())
    version = created["metadata"]["resourceVersion"]
    await becomes(edge, {("Pod", "p"): version})
    assert requests == {("POST", "objectsyncs"): 1, ("PATCH", "status"): 1}
    [sync] = (await edge.api.list(OBJECTSYNCS, "default")).items
    assert sync["metadata"]["name"] == f"{NODE}.{created['metadata']['uid']}"
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "p"}
    assert sync["spec"] == spec

    requests.clear()
    with held(monkeypatch):  # so that they come faster than they are written
        for label in "abc":
            patch = {"metadata": {"labels": {"a": label}}}
            changed = await edge.api.patch(PODS, "p", patch, "default")
            await acknowledge(edge, await edge.drain())
    await becomes(edge, {("Pod", "p"): changed["metadata"]["resourceVersion"]})
    assert requests[("PATCH", "status")] < 3
    assert requests.keys() == {("PATCH", "status")}

    requests.clear()
    await edge.api.patch(
        PODS, "p", {"status": {"phase": "Running"}}, "default", subresource="status"
    )
    assert await edge.drain() == []  # so it is no news for the record in the API either
    await edge.api.delete(PODS, "p", "default", grace_period=0)
    await acknowledge(edge, await edge.drain())
    await becomes(edge, {})
    assert requests == {("DELETE", NODE): 1}


async def test_what_is_gone_before_it_is_written_costs_nothing(
    edge: Cloud, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    await edge.api.delete(PODS, "p", "default", grace_period=0)
    await acknowledge(edge, await edge.drain())
    await edge.api.create(PODS, pod("q"), "default")
    await acknowledge(edge, await edge.drain())
    await eventually(lambda: kept(edge), lambda found: len(found) == 1)
    assert requests[("DELETE", NODE)] == requests[("POST", "objectsyncs")] - 1


async def test_the_node_has_a_cluster_object_sync(edge: Cloud) -> None:
    await register(edge)
    [push] = await edge.drain()
    await edge.acknowledge(push)
    await becomes(edge, {("Node", NODE): push.resource_version})


async def test_edges_of_v1_1_have_none(cloud: Cloud, requests: Requests) -> None:
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_1)
        await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        await cloud.connect("other", generation=V1_23)
        await cloud.api.create(NODES, node("other"))
        await cloud.api.create(PODS, pod("theirs", "other"), "default")
        await becomes(cloud, {("Pod", "theirs"): "0"})


async def test_without_its_file_the_record_is_read_from_the_api(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    await cloud.api.create(CONFIGMAPS, configmap("cm"), "default")
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        for name in ("kept", "gone"):
            await cloud.api.create(PODS, pod(name, spec=using("cm")), "default")
        await acknowledge(cloud, await cloud.drain())
        await all_seen(cloud, 3)
    lose_the_file(cloud)
    await cloud.api.delete(PODS, "gone", "default", grace_period=0)
    async with cloud.controller(record="objectsync"):
        [delete] = await cloud.drain()  # before anybody has said of which generation the edge is
        assert (delete.operation, delete.content["kind"]) == ("delete", "Pod")
        await cloud.connect(generation=V1_23)
        news = await cloud.drain()
        assert told(news) == [("delete", "default/pod/gone")]
        await acknowledge(cloud, news)
        assert await reconnect(cloud) == []
        await eventually(lambda: kept(cloud), lambda found: len(found) == 2)


async def test_what_was_not_written_when_the_process_ended_is_written_at_the_next_start(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_syncs, "_PAUSE", 1000)
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        created = await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
    assert await kept(cloud) == {}
    monkeypatch.setattr(object_syncs, "_PAUSE", 0.1)
    async with cloud.controller(record="objectsync"):
        await becomes(cloud, {("Pod", "p"): created["metadata"]["resourceVersion"]})


async def test_an_outage_delays_it(edge: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Transport.send
    away = True
    failed = Counter[str]()

    async def failing(transport: Transport, request: Request) -> Any:
        if away and transport.module == "edgecontroller" and "objectsyncs" in request.path:
            failed[request.method] += 1
            raise Unreachable("no route")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", failing)
    created = await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    await eventually(lambda: kept(edge), lambda _: failed["POST"] > 0)
    away = False
    await becomes(edge, {("Pod", "p"): created["metadata"]["resourceVersion"]})


@pytest.mark.parametrize("error", [Gone, BadRequest])
async def test_an_error_at_the_start_ends_nothing(
    cloud: Cloud,
    error: type[ApiError],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A list whose version expires between two pages is begun anew."""
    send, failures = Transport.send, iter([error(410, "", "too old")])

    async def failing_once(transport: Transport, request: Request) -> Any:
        if "objectsyncs" in request.path and (failure := next(failures, None)):
            raise failure
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", failing_once)
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        assert await reconnect(cloud) == []
    assert ("recorded in the file alone" in caplog.text) == (error is BadRequest)


async def test_without_the_definitions_the_file_is_used(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    for plural in ("objectsyncs", "clusterobjectsyncs"):
        await cloud.api.delete(CUSTOMRESOURCEDEFINITIONS, f"{plural}.reliablesyncs.kubeedge.io")
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        assert await reconnect(cloud) == []
    assert "apply deploy/crds" in caplog.text


async def test_one_that_was_deleted_is_made_again(edge: Cloud) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    await all_seen(edge, 1)
    [sync] = (await edge.api.list(OBJECTSYNCS, "default")).items
    await edge.api.delete(OBJECTSYNCS, sync["metadata"]["name"], "default")
    changed = await edge.api.patch(PODS, "p", {"metadata": {"labels": {"a": "b"}}}, "default")
    await acknowledge(edge, await edge.drain())
    await becomes(edge, {("Pod", "p"): changed["metadata"]["resourceVersion"]})


async def test_what_another_cloud_has_sent_counts(cloud: Cloud) -> None:
    """Go's cloud was in between: the node has another pod of that name, which is gone too."""
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        await all_seen(cloud, 1)
    [sync] = (await cloud.api.list(OBJECTSYNCS, "default")).items
    await cloud.api.delete(OBJECTSYNCS, sync["metadata"]["name"], "default")
    theirs: Json = {"metadata": {"name": f"{NODE}.theirs"}, "spec": sync["spec"]}
    await cloud.api.create(OBJECTSYNCS, theirs, "default")
    await cloud.api.delete(PODS, "p", "default", grace_period=0)
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        [delete] = await cloud.drain()
        assert delete.content["metadata"]["uid"] == "theirs"


async def serve_as_another_cloud(cloud: Cloud, *, acknowledged: str = "") -> None:
    """Write a version into the ObjectSync of the pod `p`, or delete the pod with its ObjectSync."""
    [sync] = (await cloud.api.list(OBJECTSYNCS, "default")).items
    name = sync["metadata"]["name"]
    if acknowledged:
        status = {"status": {"objectResourceVersion": acknowledged}}
        await cloud.api.patch(OBJECTSYNCS, name, status, "default", subresource="status")
    else:
        await cloud.api.delete(PODS, "p", "default", grace_period=0)
        await cloud.api.delete(OBJECTSYNCS, name, "default")


async def acknowledged_by_the_first(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        await all_seen(cloud, 1)


async def test_what_another_cloud_was_acknowledged_is_not_sent_again(cloud: Cloud) -> None:
    await acknowledged_by_the_first(cloud)
    changed = await cloud.api.patch(PODS, "p", {"metadata": {"labels": {"a": "b"}}}, "default")
    await serve_as_another_cloud(cloud, acknowledged=changed["metadata"]["resourceVersion"])
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        assert await cloud.drain() == []


async def test_an_older_version_of_another_cloud_is_no_news(cloud: Cloud) -> None:
    await acknowledged_by_the_first(cloud)
    await serve_as_another_cloud(cloud, acknowledged="1")
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        assert await cloud.drain() == []


async def test_what_another_cloud_has_deleted_is_not_deleted_again(cloud: Cloud) -> None:
    await acknowledged_by_the_first(cloud)
    await serve_as_another_cloud(cloud)
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        assert await cloud.drain() == []


async def test_what_is_in_other_namespaces_has_not_been_deleted(cloud: Cloud) -> None:
    await acknowledged_by_the_first(cloud)
    kubernetes = replace(cloud.settings.kubernetes, namespace="kube-public")
    cloud.settings = replace(cloud.settings, kubernetes=kubernetes)
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        delete = await cloud.until("delete", f"node/{NODE}/default/pod/p")
        assert delete.content["metadata"]["name"] == "p"


async def test_in_a_restored_api_no_other_cloud_has_deleted_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await acknowledged_by_the_first(cloud)
    await serve_as_another_cloud(cloud)
    pages = KubeClient.pages

    async def of_an_earlier_copy(client: KubeClient, *where: Any, **options: Any) -> Any:
        async for page in pages(client, *where, **options):
            yield page._replace(resource_version="1") if where[0] == OBJECTSYNCS else page

    monkeypatch.setattr(KubeClient, "pages", of_an_earlier_copy)
    monkeypatch.setattr(object_syncs, "CLUSTEROBJECTSYNCS", OBJECTSYNCS)
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        assert told(await cloud.drain()) == [("delete", "default/pod/p")]


async def test_those_of_a_node_that_is_gone_are_deleted_in_the_end(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "DROP_INTERVAL", 0.1)
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.api.create(PODS, pod("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        await all_seen(cloud, 1)
        await cloud.api.delete(NODES, NODE)
        await becomes(cloud, {("Pod", "p"): "0"})  # it may come back as another machine
    monkeypatch.setattr(record, "KEEP_ROWS", 1000.0)
    async with cloud.controller(record="objectsync"):
        await cloud.drain()
        assert len(await kept(cloud)) == 1
    monkeypatch.setattr(record, "KEEP_ROWS", 0.0)
    async with cloud.controller(record="objectsync"):
        await becomes(cloud, {})


def lose_the_file(cloud: Cloud) -> None:
    path: Path = cloud.settings.data_dir / "edgecontroller" / "told.jsonl"
    path.unlink()

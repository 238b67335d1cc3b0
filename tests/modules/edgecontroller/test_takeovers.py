"""One of several replicas: what a node has is read first, and recorded before it is changed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import msgspec
import pytest

from ipc import Message
from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    CONFIGMAPS,
    EVENTS,
    NODES,
    OBJECTSYNCS,
    PODS,
    SECRETS,
    ApiError,
    Invalid,
    Reflector,
    TooManyRequests,
    Unreachable,
    WatchEvent,
    is_newer,
)
from modules.common.kube.transport import Request, Transport
from modules.common.sync import (
    fenced_object_syncs,
    object_syncs,
    sync_form,
    takeovers,
    write_barrier,
)
from modules.common.sync.fenced_object_syncs import FencedObjectSyncs
from modules.common.sync.outlines import OutlineReflector
from modules.common.sync.sync_form import CONTROLLER_LABEL, NODE_LABEL, label_of
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream import node_updates, registrations
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from supervisor.api import ReplicasSettings
from tests.support.waiting import DEADLINE, eventually, until

from .cloud import Cloud
from .objects import BARRIER, NODE, Json, configmap, node, pod, using


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_syncs, "_PAUSE", 0.1)
    monkeypatch.setattr(registrations, "HOLD", 0.0)
    monkeypatch.setattr(registrations, "SETTLE", 0.0)


@pytest.fixture
async def replica(cloud: Cloud) -> AsyncIterator[Cloud]:
    """A replica whose edges nobody has connected yet, but that by which tests see what is done."""
    cloud.settings = replace(cloud.settings, replicas=ReplicasSettings(enabled=True, name="a"))
    await cloud.api.create(NODES, node())
    async with cloud.controller(record="objectsync"):
        await cloud.connect(BARRIER, generation=V1_23)
        yield cloud


async def drain(cloud: Cloud) -> list[Message]:
    """Receive all that the controller sends about pods that were changed until now.

    It has one watch of pods and sends in turns, so a pod for another node is sent after them.
    """
    name = f"mark-{next(_marks)}"
    await cloud.api.create(PODS, pod(name, BARRIER), "default")
    messages = []
    while True:
        message = await cloud._receive()
        if message.resource.endswith(f"/{name}"):
            return messages
        messages.append(message)


_marks = count()


def about_pods(messages: list[Message]) -> list[tuple[str, str]]:
    return [
        (message.operation, message.resource.rpartition("/")[2])
        for message in messages
        if f"node/{NODE}/default/pod/" in message.resource
    ]


async def sync_of(cloud: Cloud, uid: str) -> Json:
    return await cloud.api.get(OBJECTSYNCS, f"{NODE}.{uid}", "default")


async def write_sync(
    cloud: Cloud, name: str, uid: str, version: str, *, kind: str = "Pod", status: bool = True
) -> None:
    """Write what another replica would: that the node has acknowledged an object."""
    metadata = {
        "name": f"{NODE}.{uid}",
        "namespace": "default",
        "labels": {NODE_LABEL: label_of(NODE)},
    }
    spec = {"objectAPIVersion": "v1", "objectKind": kind, "objectName": name}
    await cloud.api.create(OBJECTSYNCS, {"metadata": metadata, "spec": spec}, "default")
    if status:
        await set_version(cloud, uid, version)


async def set_version(cloud: Cloud, uid: str, version: str) -> None:
    patch = {"status": {"objectResourceVersion": version}}
    await cloud.api.patch(OBJECTSYNCS, f"{NODE}.{uid}", patch, "default", subresource="status")


async def recorded(cloud: Cloud, uid: str, version: str) -> None:
    def is_so(sync: Any) -> bool:
        return bool(sync) and sync.get("status", {}).get("objectResourceVersion") == version

    await eventually(lambda: sync_of(cloud, uid), is_so)


async def test_a_node_that_is_not_connected_here_is_sent_nothing(replica: Cloud) -> None:
    await replica.api.create(PODS, pod("p"), "default")
    assert about_pods(await drain(replica)) == []
    # A message that it has sent before it went to another replica changes nothing.
    await replica.from_edge("query", "default/configmap/c")
    assert about_pods(await drain(replica)) == []
    syncs = (await replica.api.list(OBJECTSYNCS)).items
    assert [each for each in syncs if each["metadata"]["name"].startswith(f"{NODE}.")] == []


async def test_what_is_gone_since_another_replica_sent_it_is_deleted(replica: Cloud) -> None:
    await write_sync(replica, "gone", "u-1", "1")
    await replica.connect(generation=V1_23)
    deleted = await replica.until("delete", f"node/{NODE}/default/pod/gone")
    assert deleted.content["metadata"]["uid"] == "u-1"
    await replica.acknowledge(deleted)
    await eventually(lambda: sync_of(replica, "u-1"), lambda sync: sync is None)


async def test_a_node_is_served_when_the_watch_has_shown_what_it_has(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, held = Reflector._change, list[tuple[Reflector, WatchEvent]]()

    def hold(reflector: Reflector, event: WatchEvent) -> None:
        if reflector.resource is OBJECTSYNCS:
            held.append((reflector, event))
        else:
            change(reflector, event)

    def barrier_is_held() -> bool:
        return write_barrier.NAME in {event.object["metadata"]["name"] for _, event in held}

    await drain(replica)
    monkeypatch.setattr(Reflector, "_change", hold)
    await write_sync(replica, "gone", "u-1", "1")
    await replica.api.create(PODS, pod("new"), "default")
    await replica.connect(generation=V1_23)
    await until(barrier_is_held)
    assert about_pods(await drain(replica)) == []
    monkeypatch.undo()
    for reflector, event in held:
        change(reflector, event)
    found = [about_pods([await replica.next()]), about_pods([await replica.next()])]
    assert sorted(found) == [[("delete", "gone")], [("insert", "new")]]


async def test_exactly_what_differs_is_sent(replica: Cloud) -> None:
    has = await replica.api.create(PODS, pod("has"), "default")
    old = await replica.api.create(PODS, pod("old"), "default")
    await replica.api.create(PODS, pod("new"), "default")
    await write_sync(replica, "has", has["metadata"]["uid"], has["metadata"]["resourceVersion"])
    await write_sync(replica, "old", old["metadata"]["uid"], "1")
    await drain(replica)
    await replica.connect(generation=V1_23)
    found: list[tuple[str, str]] = []
    while len(found) < 2:
        found += about_pods([await replica.next()])
    found += about_pods(await drain(replica))
    assert sorted(found) == [("insert", "new"), ("update", "old")]


async def test_an_object_is_in_the_record_before_it_is_sent(replica: Cloud) -> None:
    await replica.connect(generation=V1_23)
    created = await replica.api.create(PODS, pod("p"), "default")
    uid = created["metadata"]["uid"]
    sent = await replica.until("insert", f"node/{NODE}/default/pod/p")
    sync = await sync_of(replica, uid)
    assert sync["metadata"]["labels"] == {NODE_LABEL: NODE, CONTROLLER_LABEL: "edgecontroller"}
    await replica.acknowledge(sent)
    await recorded(replica, uid, created["metadata"]["resourceVersion"])


async def test_a_deletion_is_in_the_record_before_it_is_sent(replica: Cloud) -> None:
    await replica.connect(generation=V1_23)
    created = await replica.api.create(PODS, pod("p"), "default")
    uid = created["metadata"]["uid"]
    await replica.acknowledge(await replica.until("insert", f"node/{NODE}/default/pod/p"))
    await recorded(replica, uid, created["metadata"]["resourceVersion"])
    await replica.api.delete(PODS, "p", "default", grace_period=0)
    deleted = await replica.until("delete", f"node/{NODE}/default/pod/p")
    assert (await sync_of(replica, uid))["status"]["objectResourceVersion"] == "0"
    await replica.acknowledge(deleted)
    await eventually(lambda: sync_of(replica, uid), lambda sync: sync is None)


def hold_answer(
    monkeypatch: pytest.MonkeyPatch, answer: str, is_held: Callable[[Request], bool]
) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold the answer to the first such request: it is late, or lost.

    Returns what is set when the API server has carried the request out, and what is to be set to
    let the answer go.
    """
    send, written, answered = Transport.send, asyncio.Event(), asyncio.Event()

    async def slow(transport: Transport, request: Request) -> Any:
        response = await send(transport, request)
        if is_held(request) and not written.is_set():
            written.set()
            await answered.wait()
            if answer == "lost":
                raise Unreachable("the connection broke", request=request.method)
        return response

    monkeypatch.setattr(Transport, "send", slow)
    return written, answered


@pytest.mark.parametrize("answer", ["late", "lost"])
async def test_a_deletion_waits_for_an_acknowledgement_that_is_being_written(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Otherwise the record may say in the end that the edge has what it has deleted."""
    monkeypatch.setattr(fenced_object_syncs, "_PATIENCE", 0.5)
    await replica.connect(generation=V1_23)
    created = await replica.api.create(PODS, pod("p"), "default")
    uid = created["metadata"]["uid"]
    written, answered = hold_answer(
        monkeypatch,
        answer,
        lambda request: request.path.endswith("/status") and f"/{NODE}." in request.path,
    )
    await replica.acknowledge(await replica.until("insert", f"node/{NODE}/default/pod/p"))
    await asyncio.wait_for(written.wait(), DEADLINE)
    await replica.api.delete(PODS, "p", "default", grace_period=0)
    assert about_pods(await drain(replica)) == []
    answered.set()
    deleted = await replica.until("delete", f"node/{NODE}/default/pod/p")
    assert (await sync_of(replica, uid))["status"]["objectResourceVersion"] == "0"
    await replica.acknowledge(deleted)
    await eventually(lambda: sync_of(replica, uid), lambda sync: sync is None)


@pytest.mark.parametrize("answer", ["late", "lost"])
async def test_an_object_that_is_needed_again_waits_for_the_removal_of_its_row(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Otherwise the record may say in the end that the edge has nothing of it."""
    monkeypatch.setattr(fenced_object_syncs, "_PATIENCE", 0.5)
    made = await replica.api.create(CONFIGMAPS, configmap("c", key="value"), "default")
    uid, resource = made["metadata"]["uid"], f"node/{NODE}/default/configmap/c"
    await replica.connect(generation=V1_23)
    await replica.api.create(PODS, pod("p", spec=using("c")), "default")
    await replica.acknowledge(await replica.until("insert", resource))
    await recorded(replica, uid, made["metadata"]["resourceVersion"])
    written, answered = hold_answer(
        monkeypatch,
        answer,
        lambda request: request.method == "DELETE" and request.path.endswith(f"/{NODE}.{uid}"),
    )
    await replica.api.delete(PODS, "p", "default", grace_period=0)
    await replica.acknowledge(await replica.until("delete", resource))
    await asyncio.wait_for(written.wait(), DEADLINE)
    await replica.api.create(PODS, pod("again", spec=using("c")), "default")
    assert not [each for each in await drain(replica) if each.resource == resource]
    answered.set()
    await replica.until("insert", resource)
    assert await sync_of(replica, uid)


async def test_an_answer_does_not_count_if_another_replica_has_written_the_record(
    replica: Cloud,
) -> None:
    await replica.connect(generation=V1_23)
    created = await replica.api.create(PODS, pod("p"), "default")
    uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    sent = await replica.until("insert", f"node/{NODE}/default/pod/p")
    await set_version(replica, uid, "1")
    await replica.acknowledge(sent)
    again = await replica.until("update", f"node/{NODE}/default/pod/p")
    assert (await sync_of(replica, uid))["status"]["objectResourceVersion"] != version
    await replica.acknowledge(again)
    await recorded(replica, uid, version)


async def test_rows_without_a_version_are_written_anew_by_who_takes_the_node(
    replica: Cloud,
) -> None:
    created = await replica.api.create(PODS, pod("p"), "default")
    uid = created["metadata"]["uid"]
    await write_sync(replica, "p", uid, "0")
    before = (await sync_of(replica, uid))["metadata"]["resourceVersion"]
    await drain(replica)
    await replica.connect(generation=V1_23)
    await replica.until("update", f"node/{NODE}/default/pod/p")
    assert (await sync_of(replica, uid))["metadata"]["resourceVersion"] != before


async def test_a_node_that_comes_again_and_again_has_no_row_written_anew(replica: Cloud) -> None:
    """An edge costs no write for each object it has not acknowledged, whenever it dials."""
    created = await replica.api.create(PODS, pod("p"), "default")
    uid = created["metadata"]["uid"]
    await write_sync(replica, "p", uid, "0")
    await drain(replica)

    async def dials() -> str:
        await replica.connect(generation=V1_23)
        await replica.until("update", f"node/{NODE}/default/pod/p")
        await replica.connect(connected=False)
        return str((await sync_of(replica, uid))["metadata"]["resourceVersion"])

    taken = await dials()
    assert await dials() == taken
    assert await dials() == taken
    await set_version(replica, uid, "1")  # as a replica that has the node in between
    await set_version(replica, uid, "0")
    theirs = (await sync_of(replica, uid))["metadata"]["resourceVersion"]
    ours = await dials()
    assert ours != theirs
    assert await dials() == ours


async def test_a_row_of_another_replica_is_written_anew_though_it_is_known(
    replica: Cloud,
) -> None:
    await replica.connect(generation=V1_23)
    created = await replica.api.create(PODS, pod("p"), "default")
    uid = created["metadata"]["uid"]
    sent = await replica.until("insert", f"node/{NODE}/default/pod/p")
    await set_version(replica, uid, "0")  # as a replica that has taken the node
    theirs = (await sync_of(replica, uid))["metadata"]["resourceVersion"]
    await replica.acknowledge(sent)
    await replica.until("update", f"node/{NODE}/default/pod/p")  # this one knows it, by a conflict
    assert (await sync_of(replica, uid))["metadata"]["resourceVersion"] == theirs
    await replica.connect(connected=False)
    await replica.connect(generation=V1_23)
    await replica.until("update", f"node/{NODE}/default/pod/p")
    assert (await sync_of(replica, uid))["metadata"]["resourceVersion"] != theirs


async def test_what_was_written_before_there_were_replicas_is_found(cloud: Cloud) -> None:
    cloud.settings = replace(cloud.settings, replicas=ReplicasSettings(enabled=True, name="a"))
    await cloud.api.create(NODES, node())
    metadata = {"name": f"{NODE}.u-1", "namespace": "default"}
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "gone"}
    await cloud.api.create(OBJECTSYNCS, {"metadata": metadata, "spec": spec}, "default")
    of_cluster = {"objectAPIVersion": "v1", "objectKind": "Node", "objectName": NODE}
    obj = {"metadata": {"name": f"{NODE}.u-2"}, "spec": of_cluster}
    await cloud.api.create(CLUSTEROBJECTSYNCS, obj)
    async with cloud.controller(record="objectsync"):
        await cloud.connect(generation=V1_23)
        await cloud.until("delete", f"node/{NODE}/default/pod/gone")


async def test_an_objectsync_that_cannot_be_written_keeps_no_node_from_being_served(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send = Transport.send

    async def refusing(transport: Transport, request: Request) -> Any:
        if request.method == "PATCH" and request.path.endswith(f"{NODE}.u-0"):
            raise Invalid(422, "Invalid", "no such annotation")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", refusing)
    await write_sync(replica, "refused", "u-0", "0", status=False)
    await replica.connect(generation=V1_23)
    await replica.until("delete", f"node/{NODE}/default/pod/refused")
    assert f"default/{NODE}.u-0: cannot be written" in caplog.text


async def test_an_objectsync_that_the_server_fails_to_write_keeps_no_node_from_being_served(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    send = Transport.send

    async def failing(transport: Transport, request: Request) -> Any:
        if request.method == "PATCH" and f"/{NODE}.u-" in request.path:
            raise ApiError(500, "InternalError", "failed calling webhook")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", failing)
    for uid in ("u-0", "u-1"):
        await write_sync(replica, f"gone-{uid}", uid, "0", status=False)
    await replica.connect(generation=V1_23)
    await replica.until("delete", f"node/{NODE}/default/pod/gone-u-0")
    assert caplog.text.count("cannot be written, what it says is kept") == 2


async def test_a_node_registers_whose_loss_cannot_be_written_of_one_object(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of that alone another replica would not know it, and the edge does not start until then."""
    monkeypatch.setattr(fenced_object_syncs, "_PATIENCE", 3600.0)
    send = Transport.send

    async def failing(transport: Transport, request: Request) -> Any:
        if request.method == "PATCH" and f"/{NODE}." in request.path:
            raise ApiError(500, "InternalError", "failed calling webhook")
        return await send(transport, request)

    created = await replica.api.create(PODS, pod("p", NODE), "default")
    uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    await write_sync(replica, "p", uid, version)
    monkeypatch.setattr(Transport, "send", failing)
    await replica.connect(generation=V1_23)
    await registers(replica, "kubeedge")  # as an edge up to 1.22


async def test_a_node_whose_record_cannot_be_read_delays_no_other_one(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server wants fewer requests about it, and answers those about others."""
    monkeypatch.setattr(takeovers, "_AT_ONCE", 1)
    send, attempts = Transport.send, asyncio.Semaphore(0)

    async def failing(transport: Transport, request: Request) -> Any:
        if request.method == "PATCH" and request.path.endswith("/edge-2.u-0"):
            attempts.release()
            raise TooManyRequests(429, "TooManyRequests", "slower")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", failing)
    cloud.settings = replace(cloud.settings, replicas=ReplicasSettings(enabled=True, name="a"))
    await cloud.api.create(NODES, node())
    await cloud.api.create(NODES, node("edge-2"))
    metadata = {"name": "edge-2.u-0", "namespace": "default"}
    spec = {"objectAPIVersion": "v1", "objectKind": "Pod", "objectName": "gone"}
    await cloud.api.create(OBJECTSYNCS, {"metadata": metadata, "spec": spec}, "default")
    await write_sync(cloud, "gone", "u-1", "1")
    async with cloud.controller(record="objectsync"):
        await cloud.connect("edge-2", generation=V1_23)
        for _ in range(2):
            await attempts.acquire()
        await cloud.connect(generation=V1_23)
        await cloud.until("delete", f"node/{NODE}/default/pod/gone")


async def test_a_row_that_is_gone_when_it_is_written_anew_is_not_in_the_record(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Transport.send

    async def gone(transport: Transport, request: Request) -> Any:
        if request.method == "PATCH" and request.path.endswith(f"{NODE}.u-0"):
            await replica.api.delete(OBJECTSYNCS, f"{NODE}.u-0", "default")
        return await send(transport, request)

    await write_sync(replica, "gone", "u-0", "0")
    await write_sync(replica, "here", "u-1", "1")
    monkeypatch.setattr(Transport, "send", gone)
    await replica.connect(generation=V1_23)
    await replica.until("delete", f"node/{NODE}/default/pod/here")
    assert about_pods(await drain(replica)) == []


async def test_an_acknowledgement_that_is_written_as_a_row_is_written_anew_counts(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API has it then, so it has to be taken back before a deletion is sent."""
    created = await replica.api.create(PODS, pod("p"), "default")
    uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    send, late = Transport.send, iter([version])

    async def just_before(transport: Transport, request: Request) -> Any:
        is_anew = request.method == "PATCH" and request.path.endswith(f"{NODE}.{uid}")
        if is_anew and (acknowledged := next(late, None)):
            await set_version(replica, uid, acknowledged)
        return await send(transport, request)

    await write_sync(replica, "p", uid, "0")
    await drain(replica)
    monkeypatch.setattr(Transport, "send", just_before)
    await replica.connect(generation=V1_23)
    assert about_pods(await drain(replica)) == []
    await replica.api.delete(PODS, "p", "default", grace_period=0)
    await replica.until("delete", f"node/{NODE}/default/pod/p")
    assert (await sync_of(replica, uid))["status"]["objectResourceVersion"] == "0"


async def registers(replica: Cloud, namespace: str) -> None:
    """Insert the Node, which is there, until the record of the node has been read."""

    async def code() -> int:
        answer = await replica.call("insert", f"{namespace}/node/{NODE}", node())
        code: int = answer.content["Err"]["ErrStatus"]["code"]
        return code

    assert await eventually(code, lambda found: found != 503) == 409


async def test_a_loss_that_is_shown_while_the_record_is_read_is_noticed(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An edge that starts without its Node inserts it twice, within 100 ms."""
    load_node, is_open = FencedObjectSyncs.load_node, asyncio.Event()

    async def waits(*arguments: Any) -> None:
        await is_open.wait()
        await load_node(*arguments)

    caplog.set_level("INFO")
    monkeypatch.setattr(registrations, "HOLD", 15.0)
    monkeypatch.setattr(registrations, "SETTLE", 15.0)
    created = await replica.api.create(PODS, pod("p", NODE), "default")
    await write_sync(replica, "p", created["metadata"]["uid"], "1")
    monkeypatch.setattr(FencedObjectSyncs, "load_node", waits)
    await replica.connect(generation=V1_23)
    first = await replica.call("insert", f"null/node/{NODE}", node())
    assert first.content["Err"]["ErrStatus"]["code"] == 503
    is_open.set()
    for _ in range(2):
        await registers(replica, "null")
    assert f"node {NODE}: is sent everything" in caplog.text


async def test_what_an_edge_has_lost_is_in_the_record_before_it_is_answered(
    replica: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever takes it over from then on cannot know it otherwise."""
    caplog.set_level("INFO")
    created = await replica.api.create(PODS, pod("p", NODE), "default")
    uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
    await write_sync(replica, "p", uid, version)
    await replica.connect(generation=V1_23)
    await registers(replica, "kubeedge")  # as an edge up to 1.22
    assert f"node {NODE}: is sent everything" in caplog.text
    assert (await sync_of(replica, uid))["status"]["objectResourceVersion"] == "0"


async def test_what_was_decided_for_a_connection_is_not_sent_after_its_end(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for an answer that cannot come, and be sent on a new connection too early."""
    weaken, asked, is_open = FencedObjectSyncs.weaken, asyncio.Event(), asyncio.Event()

    async def waits(*arguments: Any) -> set[str]:
        asked.set()
        await is_open.wait()
        return await weaken(*arguments)

    await replica.connect(generation=V1_23)
    await drain(replica)
    monkeypatch.setattr(FencedObjectSyncs, "weaken", waits)
    await replica.api.create(PODS, pod("p"), "default")
    await asked.wait()
    await replica.connect(connected=False)
    await eventually(
        lambda: replica.api.list(EVENTS, "default"),
        lambda found: any(each["reason"] == "EdgeDisconnected" for each in found.items),
    )
    is_open.set()
    assert about_pods(await drain(replica)) == []
    await replica.connect(generation=V1_23)
    await replica.until("update", f"node/{NODE}/default/pod/p")


async def test_a_row_that_cannot_be_written_delays_no_other_object_of_its_node(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook that fails refuses the one, and nobody waits until it works again."""
    monkeypatch.setattr(fenced_object_syncs, "_PATIENCE", 3600.0)
    monkeypatch.setattr(node_updates, "_AGAIN", 0.1)
    send, works = Transport.send, asyncio.Event()
    uids: set[str] = set()

    async def failing(transport: Transport, request: Request) -> Any:
        name = msgspec.json.decode(request.data or b"{}").get("metadata", {}).get("name", "")
        if request.method == "POST" and name.rpartition(".")[2] in uids and not works.is_set():
            raise ApiError(500, "InternalError", "failed calling webhook")
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", failing)
    uids.add((await replica.api.create(PODS, pod("a"), "default"))["metadata"]["uid"])
    await replica.api.create(PODS, pod("b"), "default")
    await drain(replica)
    await replica.connect(generation=V1_23)
    await replica.until("insert", f"node/{NODE}/default/pod/b")
    works.set()
    await replica.until("update", f"node/{NODE}/default/pod/a")


async def test_an_answer_that_comes_when_a_deletion_is_decided_does_not_count(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record would be sure then of an object that the edge is about to delete."""
    weaken, asked, is_open = FencedObjectSyncs.weaken, asyncio.Event(), asyncio.Event()
    acknowledged, heard = NodeUpdater.acknowledged, asyncio.Event()

    async def waits(*arguments: Any) -> set[str]:
        asked.set()
        await is_open.wait()
        return await weaken(*arguments)

    def hears(*arguments: Any) -> None:
        acknowledged(*arguments)
        heard.set()

    await replica.api.create(CONFIGMAPS, configmap("c", key="value"), "default")
    await replica.connect(generation=V1_23)
    await replica.api.create(PODS, pod("p", spec=using("c")), "default")
    sent = await replica.until("insert", f"node/{NODE}/default/configmap/c")
    await replica.until("insert", f"node/{NODE}/default/pod/p")
    monkeypatch.setattr(FencedObjectSyncs, "weaken", waits)
    monkeypatch.setattr(NodeUpdater, "acknowledged", hears)
    await replica.api.delete(PODS, "p", "default", grace_period=0)
    await asked.wait()
    await replica.acknowledge(sent)
    await heard.wait()
    is_open.set()
    await replica.until("delete", f"node/{NODE}/default/configmap/c")
    after = (await replica.api.create(PODS, pod("after"), "default"))["metadata"]
    await replica.acknowledge(await replica.until("insert", f"node/{NODE}/default/pod/after"))
    await recorded(replica, after["uid"], after["resourceVersion"])  # and what came before it
    await replica.connect(connected=False)  # before it has answered that deletion
    await replica.api.create(PODS, pod("q", spec=using("c")), "default")
    await drain(replica)
    await replica.connect(generation=V1_23)
    await replica.until("update", f"node/{NODE}/default/configmap/c")


async def test_an_answer_of_before_a_node_has_connected_does_not_end_its_connection(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that starts asks about all nodes, while they dial."""
    load, is_reading, goes_on = FencedObjectSyncs.load_node, asyncio.Event(), asyncio.Event()

    async def waits(syncs: FencedObjectSyncs, node: str) -> None:
        if node == NODE:
            is_reading.set()
            await goes_on.wait()
        await load(syncs, node)

    monkeypatch.setattr(FencedObjectSyncs, "load_node", waits)
    cloud.settings = replace(cloud.settings, replicas=ReplicasSettings(enabled=True, name="a"))
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")
    async with cloud.controller(record="objectsync"):
        question = await cloud.hub.receive(timeout=DEADLINE)
        while not question.resource.endswith(f"/{NODE}"):
            question = await cloud.hub.receive(timeout=DEADLINE)
        await cloud.connect(generation=V1_23)
        await is_reading.wait()
        await cloud.hub.send_resp(question.error("not connected"))
        await cloud.connect(BARRIER, generation=V1_23)
        later = await cloud.from_edge("query", f"default/node/{BARRIER}", node=BARRIER)
        while (await cloud._receive()).parent_id != later.id:
            pass
        goes_on.set()
        await cloud.until("insert", f"node/{NODE}/default/pod/p")


async def test_what_ends_the_reading_of_a_record_is_reported(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FencedObjectSyncs, "load_node", fails)
    await replica.connect(generation=V1_23)
    await until(lambda: f"node {NODE}: is not served until it connects again" in caplog.text)


def test_a_name_that_is_longer_than_a_label_has_a_label_too() -> None:
    assert label_of("edge-1") == "edge-1"
    long = "e" * 100
    assert len(label_of(long)) == sync_form._LABEL_ROOM
    assert label_of(long) != label_of(long + "e")


def test_a_version_of_far_too_many_digits_is_older_than_any_other() -> None:
    assert is_newer("1", "9" * 5000)
    assert not is_newer("9" * 5000, "1")
    assert is_newer(str(2**64 - 1), "1")


def needing(name: str) -> Json:
    return {**using(name), "imagePullSecrets": [{"name": name}]}


async def make_configuration(cloud: Cloud, *names: str) -> None:
    """Make a configmap and a secret of each name, and wait until the controller knows them."""
    for name in (*names, "last"):
        metadata = {"name": name, "namespace": "default"}
        data = {"key": base64.b64encode(name.encode()).decode()}
        await cloud.api.create(SECRETS, {"metadata": metadata, "data": data}, "default")
        await cloud.api.create(CONFIGMAPS, configmap(name, key=name), "default")
    await cloud.api.create(PODS, pod("last", BARRIER, spec=needing("last")), "default")
    awaited = {"configmap/last", "secret/last"}
    while awaited:
        message = await cloud._receive()
        awaited.discard(message.resource.rpartition("default/")[2])


async def test_configuration_is_read_before_the_pod_that_needs_it_is_sent(replica: Cloud) -> None:
    await make_configuration(replica, "needed", "other")
    await replica.connect(generation=V1_23)
    await replica.api.create(PODS, pod("p", spec=needing("needed")), "default")
    sent = [await replica.next() for _ in range(3)]
    contents = {each.resource.rpartition("default/")[2]: each.content for each in sent}
    assert sorted(list(contents)[:2]) == ["configmap/needed", "secret/needed"]
    assert list(contents)[2] == "pod/p"
    assert contents["configmap/needed"]["data"] == {"key": "needed"}
    assert contents["secret/needed"]["data"] == {"key": "bmVlZGVk"}


async def test_configuration_that_a_node_has_is_not_read(
    replica: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that comes from another replica has most of what it needs."""
    found = await replica.api.create(CONFIGMAPS, configmap("c", key="value"), "default")
    has = await replica.api.create(PODS, pod("p", spec=using("c")), "default")
    for obj, kind in ((found, "ConfigMap"), (has, "Pod")):
        await write_sync(
            replica,
            obj["metadata"]["name"],
            obj["metadata"]["uid"],
            obj["metadata"]["resourceVersion"],
            kind=kind,
        )
    await drain(replica)
    monkeypatch.setattr(OutlineReflector, "want", pytest.fail)
    await replica.connect(generation=V1_23)
    assert about_pods(await drain(replica)) == []


async def test_configuration_that_cannot_be_used_when_it_is_read_is_not_sent(
    replica: Cloud,
) -> None:
    """A node keeps what it has of it; its outline would be an empty object there."""
    await make_configuration(replica, "other")
    bad = {**configmap("bad"), "immutable": "yes"}
    await replica.api.create(CONFIGMAPS, bad, "default")
    await replica.api.create(CONFIGMAPS, configmap("good", key="value"), "default")
    await replica.connect(generation=V1_23)
    await replica.api.create(PODS, pod("p", spec=using("bad", "good")), "default")
    sent = [await replica.next() for _ in range(2)]
    names = [each.resource.rpartition("default/")[2] for each in sent]
    assert names == ["configmap/good", "pod/p"]

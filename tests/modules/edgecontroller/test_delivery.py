"""Edges of today get each object until they have acknowledged it, and nothing that they have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ipc import Message
from modules.common import message_resource
from modules.common.kube import CONFIGMAPS, NODES, PODS, SERVICES
from modules.common.sync import window
from modules.common.wire.generations import V1_1, V1_23
from modules.edgecontroller.downstream import registrations
from tests.support.timers import Timers

from .cloud import Cloud
from .objects import NODE, Json, configmap, node, pod, using

PREFIX = f"node/{NODE}/"
TOKEN = {"serviceAccountToken": {"path": "token"}}


def told(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.operation, message.resource.removeprefix(PREFIX)) for message in messages]


@pytest.fixture
async def edge(cloud: Cloud) -> AsyncIterator[Cloud]:
    """A controller and a connected edge of today that acknowledges nothing by itself."""
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.connect(generation=V1_23)
        await cloud.drain()
        yield cloud


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Node is held back from a node for no time, but in the tests of that."""
    monkeypatch.setattr(registrations, "HOLD", 0.0)
    monkeypatch.setattr(registrations, "SETTLE", 0.0)


@pytest.fixture(autouse=True)
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """Have messages late when the test says so."""
    return Timers(monkeypatch, window)


async def register(cloud: Cloud, namespace: str = "null") -> None:
    """Insert the Node, as a kubelet that starts; there is one."""
    await cloud.call("insert", f"{namespace}/node/{NODE}", node())


async def acknowledge(cloud: Cloud, messages: list[Message]) -> None:
    for message in messages:
        await cloud.acknowledge(message)
    await cloud.drain()


async def reconnect(cloud: Cloud) -> list[Message]:
    await cloud.connect(connected=False)
    await cloud.connect(generation=V1_23)
    return await cloud.drain()


def with_token(name: str) -> Json:
    projected = {"name": "t", "projected": {"sources": [TOKEN, {"configMap": {"name": "cm"}}]}}
    return pod(name, spec={"volumes": [projected]})


async def test_a_pod_goes_out_whole_and_with_its_version(edge: Cloud) -> None:
    created = await edge.api.create(PODS, with_token("p"), "default")
    message = await edge.next()
    assert (message.operation, message.resource) == ("insert", f"{PREFIX}default/pod/p")
    assert (message.source, message.group, message.parent_id) == ("edgecontroller", "resource", "")
    assert message.resource_version == created["metadata"]["resourceVersion"]
    assert (message.content["kind"], message.content["apiVersion"]) == ("Pod", "v1")
    sources = message.content["spec"]["volumes"][0]["projected"]["sources"]
    assert [next(iter(source)) for source in sources] == ["serviceAccountToken", "configMap"]
    assert "managedFields" not in message.content["metadata"]


async def test_what_edges_of_today_list_themselves_is_not_sent(edge: Cloud) -> None:
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 1}]}}
    await edge.api.create(SERVICES, service, "default")
    assert await edge.drain() == []
    assert await reconnect(edge) == []


async def test_what_is_not_acknowledged_is_sent_again_in_its_present_state(
    edge: Cloud, timers: Timers
) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    first = await edge.next()
    await edge.api.patch(
        PODS, "p", {"status": {"phase": "Running"}}, "default", subresource="status"
    )
    assert await edge.drain() == []
    timers.pass_by(window.RESEND)
    again = await edge.next()
    assert told([first, again]) == [("insert", "default/pod/p"), ("update", "default/pod/p")]
    assert again.id != first.id
    assert again.content["status"]["phase"] == "Running"
    await edge.acknowledge(again)
    await edge.api.create(PODS, pod("q"), "default")
    assert told([await edge.next()]) == [("insert", "default/pod/q")]
    timers.pass_by(window.RESEND)
    assert told(await edge.drain()) == [("update", "default/pod/q")]


async def test_a_node_that_connects_gets_what_it_has_not_acknowledged(edge: Cloud) -> None:
    await edge.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    for name in ("kept", "changed", "gone", "unheard"):
        await edge.api.create(PODS, pod(name, spec=using("cm")), "default")
    sent = await edge.drain()
    await acknowledge(edge, [message for message in sent if "unheard" not in message.resource])

    await edge.connect(connected=False)
    await edge.api.patch(PODS, "changed", {"metadata": {"labels": {"a": "b"}}}, "default")
    await edge.api.delete(PODS, "gone", "default", grace_period=0)
    assert told(await edge.drain()) == []
    await edge.connect(generation=V1_23)
    news = await edge.drain()
    assert sorted(told(news)) == [
        ("delete", "default/pod/gone"),
        ("update", "default/pod/changed"),
        ("update", "default/pod/unheard"),
    ]
    await acknowledge(edge, news)
    assert await reconnect(edge) == []


async def test_a_restart_of_the_controller_sends_the_difference(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.connect(generation=V1_23)
        for name in ("kept", "gone"):
            await cloud.api.create(PODS, pod(name), "default")
        await acknowledge(cloud, await cloud.drain())
    await cloud.api.delete(PODS, "gone", "default", grace_period=0)
    async with cloud.controller():
        assert told(await cloud.drain()) == [("delete", "default/pod/gone")]
        await cloud.connect(generation=V1_23)
        assert told(await cloud.drain()) == [("delete", "default/pod/gone")]


async def test_what_is_needed_again_before_its_deletion_is_acknowledged_is_sent(
    cloud: Cloud,
) -> None:
    await cloud.api.create(NODES, node())
    await cloud.api.create(CONFIGMAPS, configmap("c"), "default")
    async with cloud.controller():
        await cloud.connect(generation=V1_23)
        await cloud.api.create(PODS, pod("one", spec=using("c")), "default")
        await acknowledge(cloud, await cloud.drain())
        await cloud.api.delete(PODS, "one", "default", grace_period=0)
        assert ("delete", "default/configmap/c") in told(await cloud.drain())
    await cloud.api.create(PODS, pod("two", spec=using("c")), "default")
    async with cloud.controller():
        await cloud.connect(generation=V1_23)
        assert "default/configmap/c" in [resource for _, resource in told(await cloud.drain())]


async def test_the_second_refused_insert_of_a_node_shows_a_new_database(edge: Cloud) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    await register(edge)
    [push] = await edge.drain()
    assert told([push]) == [("update", f"null/node/{NODE}")]
    assert push.content["kind"] == "Node"
    assert push.content["metadata"]["labels"]
    await acknowledge(edge, [push])
    assert await reconnect(edge) == []

    await register(edge)
    assert await edge.drain() == []
    await register(edge)
    news = await edge.drain()
    assert sorted(told(news)) == [("update", "default/pod/p"), ("update", f"null/node/{NODE}")]
    await acknowledge(edge, news)
    assert await reconnect(edge) == []


async def change_of_the_node(cloud: Cloud) -> None:
    """Change the Node while the node, which has all, is away, and connect it."""
    await cloud.api.create(PODS, pod("p"), "default")
    await acknowledge(cloud, await cloud.drain())
    await register(cloud)
    await acknowledge(cloud, await cloud.drain())
    await cloud.api.patch(NODES, NODE, {"metadata": {"labels": {"new": "one"}}})
    await cloud.connect(connected=False)
    await cloud.drain()
    await cloud.connect(generation=V1_23)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrations, "HOLD", 1000.0)
    monkeypatch.setattr(registrations, "SETTLE", 1000.0)


@pytest.mark.usefixtures("held")
async def test_a_node_that_may_be_starting_is_not_sent_its_node(edge: Cloud) -> None:
    await change_of_the_node(edge)
    assert await edge.drain() == []
    await register(edge)
    assert await edge.drain() == []
    await register(edge)
    assert sorted(told(await edge.drain())) == [
        ("update", "default/pod/p"),
        ("update", f"null/node/{NODE}"),
    ]
    await register(edge)  # not yet handled
    assert await edge.drain() == []


async def test_a_node_that_has_connected_is_not_sent_its_node_at_once(
    edge: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "HOLD", 1000.0)
    await change_of_the_node(edge)
    assert await edge.drain() == []


@pytest.mark.usefixtures("held")
async def test_a_node_that_registers_once_is_sent_its_node_soon(
    edge: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await change_of_the_node(edge)
    monkeypatch.setattr(registrations, "SETTLE", 0.1)
    await edge.ask("insert", f"null/node/{NODE}", node())
    await edge.until("update", f"{PREFIX}null/node/{NODE}")


@pytest.mark.usefixtures("held")
async def test_a_node_that_patches_its_node_has_one(edge: Cloud) -> None:
    await change_of_the_node(edge)
    await edge.ask("patch", f"null/nodepatch/{NODE}", '{"status": {"phase": "Running"}}')
    await edge.until("update", f"{PREFIX}null/node/{NODE}")


async def test_a_node_that_does_not_register_is_sent_its_node_some_time_later(
    edge: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "HOLD", 0.5)
    before = asyncio.get_running_loop().time()
    await change_of_the_node(edge)
    await edge.until("update", f"{PREFIX}null/node/{NODE}")
    assert asyncio.get_running_loop().time() > before + 0.5


async def test_a_node_that_has_been_sent_its_node_shows_nothing_by_having_it(edge: Cloud) -> None:
    await change_of_the_node(edge)
    await acknowledge(edge, await edge.drain())
    await register(edge)
    assert sorted(told(await edge.drain())) == [
        ("update", "default/pod/p"),
        ("update", f"null/node/{NODE}"),
    ]


async def test_each_insert_of_a_node_that_it_reads_remotely_sends_everything(edge: Cloud) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    await register(edge, "default")
    assert told(await edge.drain()) == [("update", "default/pod/p")]


async def test_a_node_that_has_changed_back_is_sent_until_that_is_acknowledged(edge: Cloud) -> None:
    """The node may have stored the change alone, and has acknowledged the state before it."""
    await register(edge)
    await acknowledge(edge, await edge.drain())
    for value in ("one", None):
        await edge.api.patch(NODES, NODE, {"metadata": {"labels": {"new": value}}})
        assert told(await edge.drain()) == [("update", f"null/node/{NODE}")]
    assert told(await reconnect(edge)) == [("update", f"null/node/{NODE}")]


async def test_a_node_gets_its_node_when_others_have_changed_it(edge: Cloud) -> None:
    await register(edge)
    await acknowledge(edge, await edge.drain())
    heartbeat = {
        "conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        ]
    }
    await edge.api.patch(NODES, NODE, {"status": heartbeat}, subresource="status")
    await acknowledge(edge, await edge.drain())
    heartbeat["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:05:00Z"
    await edge.api.patch(NODES, NODE, {"status": heartbeat}, subresource="status")
    assert await edge.drain() == []
    await edge.api.patch(NODES, NODE, {"metadata": {"labels": {"zone": "a"}}})
    [push] = await edge.drain()
    assert push.content["metadata"]["labels"]["zone"] == "a"
    assert push.resource_version == push.content["metadata"]["resourceVersion"]


async def test_another_pod_of_a_name_waits_until_the_first_is_deleted(edge: Cloud) -> None:
    first = await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    await edge.connect(connected=False)
    await edge.api.delete(PODS, "p", "default", grace_period=0)
    second = await edge.api.create(PODS, pod("p"), "default")
    await edge.connect(generation=V1_23)
    [delete] = await edge.drain()
    assert told([delete]) == [("delete", "default/pod/p")]
    assert delete.content["metadata"]["uid"] == first["metadata"]["uid"]
    await edge.acknowledge(delete)
    [insert] = await edge.drain()
    assert told([insert]) == [("insert", "default/pod/p")]
    assert insert.content["metadata"]["uid"] == second["metadata"]["uid"]


async def test_a_deletion_names_the_pod_that_the_node_has(edge: Cloud, timers: Timers) -> None:
    first = await edge.api.create(PODS, pod("p"), "default")
    await acknowledge(edge, await edge.drain())
    for _ in range(2):  # the second pod of that name is never sent
        await edge.api.delete(PODS, "p", "default", grace_period=0)
        await edge.api.create(PODS, pod("p"), "default")
    await edge.api.delete(PODS, "p", "default", grace_period=0)
    deletes = await edge.drain()
    assert deletes
    timers.pass_by(window.LONGEST)
    deletes += await edge.drain()
    assert set(told(deletes)) == {("delete", "default/pod/p")}
    assert {each.content["metadata"]["uid"] for each in deletes} == {first["metadata"]["uid"]}
    await edge.acknowledge(deletes[-1])
    assert await edge.drain() == []
    timers.pass_by(2 * window.LONGEST)
    assert await edge.drain() == []


async def test_a_window_of_messages_is_in_flight(edge: Cloud) -> None:
    names = [f"p{number}" for number in range(window.WINDOW + 3)]
    for name in names:
        await edge.api.create(PODS, pod(name), "default")
    sent = await edge.drain()
    assert len(sent) == window.WINDOW
    for message in sent[:2]:
        await edge.acknowledge(message)
    more = await edge.drain()
    assert len(more) == 2
    about = {message_resource.parse(message.resource).name for message in sent + more}
    assert about == set(names[: window.WINDOW + 2])


async def test_a_node_that_acknowledges_nothing_delays_no_other(edge: Cloud) -> None:
    await edge.api.create(NODES, node("other"))
    await edge.connect("other", generation=V1_23)
    for number in range(3 * window.WINDOW):
        await edge.api.create(PODS, pod(f"p{number}"), "default")
    await edge.drain()
    await edge.api.create(PODS, pod("theirs", "other"), "default")
    assert [message.resource for message in await edge.drain()] == ["node/other/default/pod/theirs"]


async def test_an_object_that_is_never_acknowledged_blocks_no_other(
    edge: Cloud, timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "WINDOW", 1)
    await edge.api.create(PODS, pod("stuck"), "default")
    assert (await edge.next()).resource.endswith("/stuck")
    for name in ("a", "b"):
        await edge.api.create(PODS, pod(name), "default")
        assert await edge.drain() == []
        timers.pass_by(window.LONGEST)
        [message] = await edge.drain()
        while message.resource.endswith("/stuck"):
            timers.pass_by(window.LONGEST)
            [message] = await edge.drain()
        assert message.resource.endswith(f"/{name}")
        await acknowledge(edge, [message])


async def test_the_first_and_the_last_of_what_is_late_are_logged(
    edge: Cloud, timers: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in ("a", "b"):
        await edge.api.create(PODS, pod(name), "default")
    assert len(await edge.drain()) == 2
    timers.pass_by(window.RESEND)
    again = await edge.drain()
    assert told(again) == [("update", f"default/pod/{name}") for name in ("a", "b")]
    for message in again:
        assert "has answered all" not in caplog.text
        await acknowledge(edge, [message])
    logged = [line for line in caplog.messages if NODE in line and "again" in line]
    assert logged == [
        f"node {NODE}: has not acknowledged pod/default/a in 5 s; sent again until it does",
        f"node {NODE}: has answered all that was sent again",
    ]


async def test_pauses_before_a_resend_grow(edge: Cloud, timers: Timers) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    assert len(await edge.drain()) == 1
    for pause in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        timers.pass_by(pause - 0.1)
        assert await edge.drain() == []
        timers.pass_by(0.1)
        assert told(await edge.drain()) == [("update", "default/pod/p")]


async def test_what_a_node_asks_for_although_it_had_it_is_sent_again(edge: Cloud) -> None:
    await edge.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    await edge.api.create(PODS, pod("p", spec=using("cm")), "default")
    await acknowledge(edge, await edge.drain())
    answer = await edge.call("query", "default/configmap/cm")
    assert answer.content["data"] == {"a": "1"}
    assert told(await reconnect(edge)) == [("update", "default/configmap/cm")]


async def test_a_configmap_that_is_deleted_and_made_again_arrives(edge: Cloud) -> None:
    volumes = [{"name": "v", "projected": {"sources": [{"configMap": {"name": "cm"}}]}}]
    for number in ("1", "2"):
        await edge.api.create(CONFIGMAPS, configmap("cm", a=number), "default")
        if number == "1":
            await edge.api.create(PODS, pod("p", spec={"volumes": volumes}), "default")
        news = await edge.drain()
        assert [m.content["data"] for m in news if "configmap" in m.resource] == [{"a": number}]
        await acknowledge(edge, news)
        await edge.api.delete(CONFIGMAPS, "cm", "default")
        deleted = await edge.drain()
        assert told(deleted) == [("delete", "default/configmap/cm")]
        await acknowledge(edge, deleted)


async def test_an_edge_that_patches_its_node_first_is_sent_it(edge: Cloud) -> None:
    await edge.call("patch", f"null/nodepatch/{NODE}", '{"status": {"phase": "Running"}}')
    assert told(await edge.drain()) == [("update", f"null/node/{NODE}")]


async def test_what_a_node_could_not_store_is_sent_again(edge: Cloud) -> None:
    await edge.api.create(PODS, pod("p"), "default")
    await edge.refuse(await edge.next())
    assert told([await edge.next()]) == [("update", "default/pod/p")]


async def test_an_edge_whose_node_is_another_one_is_sent_everything(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    await cloud.api.create(PODS, pod("p"), "default")
    async with cloud.controller():
        await cloud.connect(generation=V1_23)
        await acknowledge(cloud, await cloud.drain())
        await register(cloud)
        await acknowledge(cloud, await cloud.drain())
        assert await reconnect(cloud) == []
    await cloud.api.delete(NODES, NODE)
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        assert sorted(told(await cloud.drain())) == [
            ("update", "default/pod/p"),
            ("update", f"null/node/{NODE}"),
        ]


async def test_an_edge_that_is_upgraded_is_sent_everything_in_its_new_form(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        await cloud.connect(generation=V1_1)
        await cloud.api.create(PODS, with_token("p"), "default")
        await acknowledge(cloud, await cloud.drain())
        await cloud.connect(connected=False)
        await cloud.connect(generation=V1_23)
        [message] = await cloud.drain()
        assert message.content["kind"] == "Pod"
        sources = message.content["spec"]["volumes"][0]["projected"]["sources"]
        assert len(sources) == 2

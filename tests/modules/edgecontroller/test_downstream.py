from typing import Any

import pytest

from modules.common.kube import CONFIGMAPS, ENDPOINTS, NODES, PODS, SECRETS, SERVICES

from .cloud import Cloud
from .objects import NODE, configmap, node, pod, using

PREFIX = f"node/{NODE}/"


def told(messages: list[Any]) -> list[tuple[str, str]]:
    return [(message.operation, message.resource.removeprefix(PREFIX)) for message in messages]


async def test_pod_lifecycle(running: Cloud) -> None:
    created = await running.api.create(PODS, pod("p"), "default")
    message = await running.next()
    assert (message.source, message.group) == ("edgecontroller", "resource")
    assert (message.operation, message.resource) == ("insert", f"node/{NODE}/default/pod/p")
    assert (message.parent_id, message.sync) == ("", False)
    assert set(message.content) == {"metadata", "spec", "status"}
    assert message.content["spec"] == created["spec"]

    await running.api.patch(PODS, "p", {"metadata": {"labels": {"x": "y"}}}, "default")
    message = await running.next()
    assert (message.operation, message.resource) == ("update", f"node/{NODE}/default/pod/p")
    assert message.content["metadata"]["labels"] == {"x": "y"}

    await running.api.delete(PODS, "p", "default")
    message = await running.next()
    assert message.operation == "update"
    assert message.content["metadata"]["deletionTimestamp"]

    await running.api.delete(PODS, "p", "default", grace_period=0)
    message = await running.next()
    assert (message.operation, message.resource) == ("delete", f"node/{NODE}/default/pod/p")
    assert message.content["spec"] == created["spec"]


async def test_status_of_a_pod_is_no_news(running: Cloud) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.next()
    status = {"status": {"phase": "Running"}}
    await running.api.patch(PODS, "p", status, "default", subresource="status")
    assert await running.drain() == []


async def test_pods_of_other_nodes_are_not_told(running: Cloud) -> None:
    await running.api.create(NODES, {"metadata": {"name": "in-the-cloud"}})
    await running.api.create(PODS, pod("p", "in-the-cloud"), "default")
    await running.api.create(PODS, pod("q", ""), "default")
    assert await running.drain() == []


async def test_configmaps_come_before_their_pod(running: Cloud) -> None:
    await running.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    assert await running.drain() == []
    await running.api.create(PODS, pod("p", spec=using("cm")), "default")
    assert told(await running.drain()) == [
        ("insert", "default/configmap/cm"),
        ("insert", "default/pod/p"),
    ]


async def test_configmap_lifecycle(running: Cloud) -> None:
    await running.api.create(PODS, pod("p", spec=using("cm")), "default")
    await running.next()
    await running.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    message = await running.next()
    assert (message.operation, message.resource) == ("insert", f"node/{NODE}/default/configmap/cm")
    assert message.content["data"] == {"a": "1"}
    await running.api.patch(CONFIGMAPS, "cm", {"data": {"a": "2"}}, "default")
    message = await running.next()
    assert (message.operation, message.content["data"]) == ("update", {"a": "2"})
    await running.api.delete(CONFIGMAPS, "cm", "default")
    message = await running.next()
    assert (message.operation, message.content["data"]) == ("delete", {"a": "2"})


async def test_secret_is_always_an_update(running: Cloud) -> None:
    spec = {"imagePullSecrets": [{"name": "s"}]}
    await running.api.create(PODS, pod("p", spec=spec), "default")
    await running.next()
    secret = {"metadata": {"name": "s"}, "data": {"k": "dg=="}}
    await running.api.create(SECRETS, secret, "default")
    message = await running.next()
    assert (message.operation, message.resource) == ("update", f"node/{NODE}/default/secret/s")
    assert message.content["data"] == {"k": "dg=="}
    await running.api.delete(SECRETS, "s", "default")
    assert told([await running.next()]) == [("delete", "default/secret/s")]


async def test_what_no_pod_needs_any_more_is_deleted(running: Cloud) -> None:
    await running.api.create(CONFIGMAPS, configmap("cm"), "default")
    await running.api.create(PODS, pod("p", spec=using("cm")), "default")
    await running.api.create(PODS, pod("q", spec=using("cm")), "default")
    await running.drain()
    await running.api.delete(PODS, "p", "default", grace_period=0)
    assert told(await running.drain()) == [("delete", "default/pod/p")]
    await running.api.delete(PODS, "q", "default", grace_period=0)
    assert told(await running.drain()) == [
        ("delete", "default/pod/q"),
        ("delete", "default/configmap/cm"),
    ]


def service(name: str, **selector: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": selector, "ports": [{"port": 80}]},
    }


def endpoints(name: str, *addresses: str, **metadata: Any) -> dict[str, Any]:
    subsets = [{"addresses": [{"ip": ip} for ip in addresses], "ports": [{"port": 80}]}]
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "subsets": subsets}


async def test_services_go_to_every_edge_node(running: Cloud) -> None:
    await running.api.create(NODES, node("other"))
    await running.drain()
    await running.api.create(SERVICES, service("s", app="a"), "default")
    received = {(m.operation, m.resource) for m in await running.drain()}
    assert received == {
        ("insert", f"node/{NODE}/default/service/s"),
        ("insert", "node/other/default/service/s"),
    }
    await running.api.patch(SERVICES, "s", {"metadata": {"labels": {"x": "y"}}}, "default")
    assert {m.operation for m in await running.drain()} == {"update"}
    await running.api.delete(SERVICES, "s", "default")
    assert {m.operation for m in await running.drain()} == {"delete"}


async def test_endpoints_bring_the_pods_along(running: Cloud) -> None:
    await running.api.create(SERVICES, service("s", app="a"), "default")
    await running.api.create(PODS, pod("p", labels={"app": "a"}), "default")
    await running.api.create(PODS, pod("q", labels={"app": "b"}), "default")
    await running.drain()
    await running.api.create(ENDPOINTS, endpoints("s", "10.0.0.1"), "default")
    first, second = await running.next(), await running.next()
    assert told([first, second]) == [
        ("insert", "default/endpoints/s"),
        ("update", "default/podlist/s"),
    ]
    assert first.content["subsets"] == endpoints("s", "10.0.0.1")["subsets"]
    assert [item["metadata"]["name"] for item in second.content] == ["p"]

    annotation = {"metadata": {"annotations": {"leader": "me"}}}
    await running.api.patch(ENDPOINTS, "s", annotation, "default")
    assert await running.drain() == []
    subsets = {"subsets": endpoints("s", "10.0.0.2")["subsets"]}
    await running.api.patch(ENDPOINTS, "s", subsets, "default")
    assert told(await running.drain()) == [
        ("update", "default/endpoints/s"),
        ("update", "default/podlist/s"),
    ]
    await running.api.delete(ENDPOINTS, "s", "default")
    assert told(await running.drain()) == [("delete", "default/endpoints/s")]


async def test_connecting_brings_the_whole_state(cloud: Cloud) -> None:
    await cloud.api.create(NODES, node())
    await cloud.api.create(SERVICES, service("s", app="a"), "default")
    await cloud.api.create(ENDPOINTS, endpoints("s", "10.0.0.1"), "default")
    await cloud.api.create(CONFIGMAPS, configmap("cm"), "default")
    await cloud.api.create(SECRETS, {"metadata": {"name": "s"}}, "default")
    spec = {**using("cm"), "imagePullSecrets": [{"name": "s"}]}
    await cloud.api.create(PODS, pod("p", spec=spec, labels={"app": "a"}), "default")
    expected = [
        ("configmap/cm", "default"),
        ("secret/s", "default"),
        ("pod/p", "default"),
        ("servicelist/service", "namespace"),
        ("podlist/s", "default"),
        ("endpointslist/endpoints", "namespace"),
    ]
    async with cloud.controller():
        first = await cloud.drain()
        assert [m.resource for m in first] == [f"{PREFIX}{ns}/{rest}" for rest, ns in expected]
        assert [m.operation for m in first] == [
            "insert", "update", "insert", "update", "update", "update",
        ]  # fmt: skip
        assert {item["metadata"]["name"] for item in first[3].content} == {"s", "barrier"}
        await cloud.connect()
        again = await cloud.drain()
        assert [m.resource for m in again] == [m.resource for m in first]
        assert {m.operation for m in again} == {"update"}


async def test_disconnected_node_is_spared_and_then_told(running: Cloud) -> None:
    await running.api.create(PODS, pod("gone"), "default")
    await running.api.create(PODS, pod("changed"), "default")
    await running.api.create(SERVICES, service("s", app="a"), "default")
    await running.drain()
    await running.connect(connected=False)
    await running.drain()
    await running.api.delete(PODS, "gone", "default", grace_period=0)
    await running.api.delete(SERVICES, "s", "default")
    for version in ("1", "2", "3"):
        patch = {"metadata": {"labels": {"version": version}}}
        await running.api.patch(PODS, "changed", patch, "default")
    await running.api.create(PODS, pod("new"), "default")
    assert await running.drain() == []
    await running.connect()
    received = await running.drain()
    assert set(told(received)) == {
        ("delete", "default/pod/gone"),
        ("delete", "default/service/s"),
        ("update", "default/pod/changed"),
        ("insert", "default/pod/new"),
        ("update", "namespace/servicelist/service"),
        ("update", "namespace/endpointslist/endpoints"),
    }
    changed = next(m for m in received if m.resource.endswith("changed"))
    assert changed.content["metadata"]["labels"] == {"version": "3"}


async def test_delete_is_repeated_until_acknowledged(running: Cloud) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.api.delete(PODS, "p", "default", grace_period=0)
    await running.until("delete", f"{PREFIX}default/pod/p")
    await running.connect()
    again = await running.until("delete", f"{PREFIX}default/pod/p")
    await running.drain()
    await running.acknowledge(again)
    await running.connect()
    assert not [m for m in await running.drain() if m.operation == "delete"]


async def test_recreated_pod_is_another_pod(running: Cloud) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.drain()
    await running.connect(connected=False)
    await running.drain()
    await running.api.delete(PODS, "p", "default", grace_period=0)
    await running.api.create(PODS, pod("p"), "default")
    await running.drain()
    await running.connect()
    pods = [m for m in await running.drain() if m.resource.endswith("pod/p")]
    assert [m.operation for m in pods] == ["delete", "insert"]


async def test_restart_brings_every_node_to_the_desired_state(cloud: Cloud) -> None:
    """What changed while the controller was dead is told, deletions included."""
    await cloud.api.create(NODES, node())
    for name in ("gone", "kept", "replaced"):
        await cloud.api.create(PODS, pod(name, spec=using(name)), "default")
        await cloud.api.create(CONFIGMAPS, configmap(name), "default")
    await cloud.api.create(SERVICES, service("s"), "default")
    async with cloud.controller():
        await cloud.drain()
    await cloud.api.delete(PODS, "gone", "default", grace_period=0)
    await cloud.api.delete(PODS, "replaced", "default", grace_period=0)
    await cloud.api.create(PODS, pod("replaced", spec=using("replaced")), "default")
    await cloud.api.delete(CONFIGMAPS, "kept", "default")
    await cloud.api.delete(SERVICES, "s", "default")
    async with cloud.controller():
        received = told(await cloud.drain())
    assert sorted(received) == sorted(
        [
            ("update", "default/configmap/replaced"),
            ("update", "default/pod/kept"),
            ("delete", "default/pod/replaced"),
            ("insert", "default/pod/replaced"),
            ("delete", "default/pod/gone"),
            ("delete", "default/configmap/gone"),
            ("delete", "default/configmap/kept"),
            ("delete", "default/service/s"),
            ("update", "namespace/servicelist/service"),
            ("update", "namespace/endpointslist/endpoints"),
        ]
    )


async def test_node_that_is_labelled_later(running: Cloud) -> None:
    await running.api.create(NODES, {"metadata": {"name": "late"}})
    await running.api.create(PODS, pod("p", "late"), "default")
    assert await running.drain() == []
    label = {"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}}}
    await running.api.patch(NODES, "late", label)
    assert (await running.next()).resource == "node/late/default/pod/p"


@pytest.mark.parametrize("known", [True, False])
async def test_lists_when_a_node_gets_ready(cloud: Cloud, known: bool) -> None:
    """As KubeEdge does; not for a node that has had them when it connected."""
    await cloud.api.create(NODES, node())
    async with cloud.controller():
        if known:
            await cloud.connect()
        else:
            cloud.unknown.add(NODE)
        await cloud.drain()
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await cloud.api.patch(NODES, NODE, ready, subresource="status")
        lists = ["namespace/servicelist/service", "namespace/endpointslist/endpoints"]
        received = [resource for _, resource in told(await cloud.drain())]
        assert received == ([] if known else lists)
        other = {"status": {"phase": "Running"}}
        await cloud.api.patch(NODES, NODE, other, subresource="status")
        assert await cloud.drain() == []

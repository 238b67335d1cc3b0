"""Every message to an edge, field by field as the Go cloud of v1.1.0 sends it.

What it sends is read from controller/downstream.go and upstream.go where the recording
(test_recorded.py) has no such message. A typed object of Go's has no kind and no apiVersion in
its JSON; managed fields, which an API server of its days did not have, are not sent here.
"""

from __future__ import annotations

from typing import Any

import pytest

from ipc import Message
from modules.common.kube import CONFIGMAPS, ENDPOINTS, NODES, PODS, SECRETS, SERVICES, Resource

from .cloud import Cloud
from .objects import BARRIER, NODE, Json, configmap, node, pod, using

METADATA = {"name": "x", "namespace": "default"}
#: A pod that needs all that is only told to nodes that need it.
NEEDY = pod("needy", spec={**using("x"), "imagePullSecrets": [{"name": "x"}]}, labels={"app": "a"})
SERVICE = {
    "metadata": METADATA,
    "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "name": "http"}]},
}
SUBSETS = [{"addresses": [{"ip": "10.0.0.1", "nodeName": NODE}], "ports": [{"port": 80}]}]


def fields(message: Message) -> Json:
    """All that a message says, but for its own id and time, which are checked for their form."""
    assert len(message.id) == 36
    assert message.timestamp > 1_700_000_000_000
    return {
        "parent_id": message.parent_id,
        "sync": message.sync,
        "source": message.source,
        "group": message.group,
        "operation": message.operation,
        "resource": message.resource,
        "content": message.content,
    }


def told(operation: str, resource: str, content: Any, *, to: str = "") -> Json:
    """The fields of a message that the Go edge controller sends; `to` is what it answers."""
    return {
        "parent_id": to,
        "sync": False,
        "source": "edgecontroller",
        "group": "resource",
        "operation": operation,
        "resource": f"node/{NODE}/{resource}",
        "content": content,
    }


def typed(obj: Json) -> Json:
    """The JSON that Go makes of an object that it has from the API."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    rest = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    return {**rest, "metadata": metadata}


CHANGED = {"metadata": {"labels": {"changed": "yes"}}}


@pytest.mark.parametrize(
    ("kind", "resource", "obj", "created_is"),
    [
        ("pod", PODS, pod("x"), "insert"),
        ("configmap", CONFIGMAPS, configmap("x", k="v"), "insert"),
        # TODO of Go's: "rollback when all edge upgrade to 2.1.6 or upper"
        ("secret", SECRETS, {"metadata": METADATA, "data": {"k": "dg=="}}, "update"),
        ("service", SERVICES, SERVICE, "insert"),
        ("endpoints", ENDPOINTS, {"metadata": METADATA, "subsets": SUBSETS}, "insert"),
    ],
    ids=["pod", "configmap", "secret", "service", "endpoints"],
)
async def test_life_of_an_object(
    running: Cloud, kind: str, resource: Resource, obj: Json, created_is: str
) -> None:
    """syncPod, syncConfigMap, syncSecret, syncService, syncEndpoints."""
    await running.api.create(PODS, NEEDY, "default")
    assert (await running.next()).resource.endswith("pod/needy")
    about = f"default/{kind}/x"

    created = await running.api.create(resource, obj, "default")
    assert fields(await running.next()) == told(created_is, about, typed(created))

    changed = await running.api.patch(resource, "x", CHANGED, "default")
    assert fields(await running.next()) == told("update", about, typed(changed))

    await running.api.delete(resource, "x", "default", grace_period=0)
    deleted = fields(await running.next())
    # The final state has the version of the deletion.
    version = deleted["content"]["metadata"]["resourceVersion"]
    last = {**changed, "metadata": {**changed["metadata"], "resourceVersion": version}}
    assert int(version) > int(changed["metadata"]["resourceVersion"])
    assert deleted == told("delete", about, typed(last))


async def test_endpoints_take_the_pods_of_their_service_along(running: Cloud) -> None:
    """syncEndpoints: the podlist, under the service's name."""
    behind = await running.api.create(PODS, NEEDY, "default")
    await running.api.create(SERVICES, SERVICE, "default")
    await running.drain()
    endpoints = {"metadata": METADATA, "subsets": SUBSETS}
    created = await running.api.create(ENDPOINTS, endpoints, "default")
    assert [fields(await running.next()), fields(await running.next())] == [
        told("insert", "default/endpoints/x", typed(created)),
        told("update", "default/podlist/x", [typed(behind)]),
    ]


async def test_lists_of_a_node_that_gets_ready(cloud: Cloud) -> None:
    """syncEdgeNodes: services, the pods behind each, endpoints; the names of lists are odd."""
    await cloud.api.create(NODES, node())
    behind = await cloud.api.create(PODS, NEEDY, "default")
    service = await cloud.api.create(SERVICES, SERVICE, "default")
    endpoints = {"metadata": METADATA, "subsets": SUBSETS}
    subsets = await cloud.api.create(ENDPOINTS, endpoints, "default")
    cloud.unknown.add(NODE)
    async with cloud.controller():
        await cloud.drain()
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await cloud.api.patch(NODES, NODE, ready, subresource="status")
        lists = [fields(message) for message in (await cloud.drain())[:3]]
    for message in lists:  # those of the barrier are the tests' own
        message["content"] = [o for o in message["content"] if o["metadata"]["name"] != BARRIER]
    assert lists == [
        told("update", "namespace/servicelist/service", [typed(service)]),
        told("update", "default/podlist/x", [typed(behind)]),
        told("update", "namespace/endpointslist/endpoints", [typed(subsets)]),
    ]


async def test_node_status_is_confirmed(running: Cloud) -> None:
    """updateNodeStatus: OK, about the node and no longer its status."""
    status = {"UID": "u", "Status": {"phase": "Running"}, "ExtendResources": None}
    question = await running.from_edge("update", f"default/nodestatus/{NODE}", status)
    answer = fields(await running.answer_to(question))
    assert answer == told("response", f"default/node/{NODE}", "OK", to=question.id)


async def test_node_update_is_confirmed(running: Cloud) -> None:
    """updateNode: the annotations are merged, then OK."""
    content = {"metadata": {"name": NODE, "annotations": {"a": "b"}}}
    question = await running.from_edge("update", f"default/node/{NODE}", content)
    answer = fields(await running.answer_to(question))
    assert answer == told("response", f"default/node/{NODE}", "OK", to=question.id)
    found = await running.api.get(NODES, NODE)
    assert found["metadata"]["annotations"] == {"a": "b"}


async def test_pod_that_the_api_does_not_have_is_deleted(running: Cloud) -> None:
    """updatePodStatus: a delete whose content is a v1.Pod with nothing but its name."""
    status = {"UID": "u", "Name": "gone", "Status": {"phase": "Running"}}
    await running.from_edge("update", "default/podstatus/gone", status)
    content = {
        "metadata": {"name": "gone", "namespace": "default", "creationTimestamp": None},
        "spec": {"containers": None},
        "status": {},
    }
    assert fields(await running.next()) == told("delete", "default/pod/gone", content)


@pytest.mark.parametrize(
    ("kind", "resource", "obj"),
    [
        ("configmap", CONFIGMAPS, configmap("y", k="v")),
        ("secret", SECRETS, {"metadata": {"name": "y"}, "data": {"k": "dg=="}}),
        ("service", SERVICES, {"metadata": {"name": "y"}, "spec": {"ports": [{"port": 1}]}}),
    ],
)
async def test_query(running: Cloud, kind: str, resource: Resource, obj: Json) -> None:
    """queryConfigMap and its like: the object, as the answer to the question."""
    created = await running.api.create(resource, obj, "default")
    await running.refer_to("y")
    question = await running.from_edge("query", f"default/{kind}/y")
    answer = fields(await running.answer_to(question))
    assert answer == told("response", f"default/{kind}/y", typed(created), to=question.id)


async def test_node_query(running: Cloud) -> None:
    """queryNode"""
    question = await running.from_edge("query", f"default/node/{NODE}")
    answer = fields(await running.answer_to(question))
    found = typed(await running.api.get(NODES, NODE))
    assert answer == told("response", f"default/node/{NODE}", found, to=question.id)

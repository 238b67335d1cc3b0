import pytest

from ipc import Message
from modules.common.kube import (
    CONFIGMAPS,
    ENDPOINTS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUMEATTACHMENTS,
    Resource,
)

from .cloud import Cloud
from .objects import NODE, Json, configmap, pod

OBJECTS: list[tuple[str, Resource, Json]] = [
    ("configmap", CONFIGMAPS, configmap("x", k="v")),
    ("secret", SECRETS, {"metadata": {"name": "x"}, "data": {"k": "dg=="}}),
    ("service", SERVICES, {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 1}]}}),
    ("endpoints", ENDPOINTS, {"metadata": {"name": "x"}, "subsets": []}),
    (
        "persistentvolume",
        PERSISTENTVOLUMES,
        {
            "metadata": {"name": "x"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "claimRef": {"namespace": "default", "name": "x"},
            },
        },
    ),
    (
        "persistentvolumeclaim",
        PERSISTENTVOLUMECLAIMS,
        {"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"]}},
    ),
    (
        "volumeattachment",
        VOLUMEATTACHMENTS,
        {"metadata": {"name": "x"}, "spec": {"attacher": "a", "nodeName": NODE, "source": {}}},
    ),
]


@pytest.mark.parametrize(("kind", "resource", "obj"), OBJECTS, ids=[o[0] for o in OBJECTS])
async def test_queries(running: Cloud, kind: str, resource: Resource, obj: Json) -> None:
    created = await running.api.create(resource, obj, "default" if resource.namespaced else None)
    await running.refer_to("x")
    question = await running.from_edge("query", f"default/{kind}/x")
    answer = await running.answer_to(question)
    assert (answer.source, answer.group, answer.operation) == (
        "edgecontroller",
        "resource",
        "response",
    )
    assert answer.resource == f"node/{NODE}/default/{kind}/x"
    for key in ("kind", "apiVersion"):
        created.pop(key)
    created["metadata"].pop("managedFields", None)
    assert answer.content == created


async def test_what_does_not_exist_has_no_answer(running: Cloud) -> None:
    await running.refer_to("none")
    question = await running.from_edge("query", "default/configmap/none")
    assert question.id not in {m.parent_id for m in await running.drain()}


async def test_endpoints_query_brings_the_podlist(running: Cloud) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 1}]}}
    await running.api.create(SERVICES, service, "default")
    await running.api.create(ENDPOINTS, {"metadata": {"name": "s"}}, "default")
    await running.api.create(PODS, pod("p", labels={"a": "b"}), "default")
    await running.drain()
    await running.answer_to(await running.from_edge("query", "default/endpoints/s"))
    message = await running.next()
    assert (message.operation, message.resource) == ("update", f"node/{NODE}/default/podlist/s")
    assert [p["metadata"]["name"] for p in message.content] == ["p"]


async def test_a_queried_configmap_is_updated_not_inserted(running: Cloud) -> None:
    """A v1.1 edge would keep what it has asked for and ignore an insert."""
    await running.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    await running.answer_to(await running.from_edge("query", "default/configmap/cm"))
    volumes = [{"name": "v", "configMap": {"name": "cm"}}]
    await running.api.create(PODS, pod("p", spec={"volumes": volumes}), "default")
    await running.until("update", f"node/{NODE}/default/configmap/cm")


async def test_send_sync_is_answered(running: Cloud) -> None:
    """Whoever waits for the answer gets it on the channel for answers."""
    question = Message.build(
        "edged", "meta", "query", f"node/{NODE}/default/node/{NODE}", None, sync=True
    )
    answer = await running.hub.send_sync("edgecontroller", question, timeout=5)
    assert answer.content["metadata"]["name"] == NODE


async def test_what_an_edge_asks_for_again_and_again_in_vain_is_logged_once(
    running: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for as long as a pod waits for what is missing; that it is gone again is news."""
    caplog.set_level("INFO", "modules.edgecontroller.upstream")
    line = f"{NODE} asks for secrets default/x: not found"
    await running.refer_to("x")
    for _ in range(3):
        await running.from_edge("query", "default/secret/x")
        await running.drain()
    assert caplog.messages.count(line) == 1
    await running.api.create(SECRETS, {"metadata": {"name": "x"}}, "default")
    await running.answer_to(await running.from_edge("query", "default/secret/x"))
    await running.api.delete(SECRETS, "x", "default")
    await running.from_edge("query", "default/secret/x")
    await running.drain()
    assert caplog.messages.count(line) == 2

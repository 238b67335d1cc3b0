import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ipc import Message
from modules.common.kube import (
    CONFIGMAPS,
    ENDPOINTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUMEATTACHMENTS,
    Resource,
)

from .conftest import NODE, Cloud, Json, configmap, eventually, node, pod

STATUS = f"default/nodestatus/{NODE}"
ANSWER = f"node/{NODE}/default/node/{NODE}"


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ready(*, heartbeat: str | None = None, transition: str | None = None) -> Json:
    return {
        "type": "Ready",
        "status": "True",
        "lastHeartbeatTime": heartbeat,
        "lastTransitionTime": transition,
        "reason": "EdgeReady",
        "message": "edge is posting ready status",
    }


def node_status(**status: Any) -> Json:
    return {
        "UID": "38796d14-1df3-11e8-8e5a-286ed488f209",
        "Status": {
            "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "phase": "Running",
            "conditions": [ready(heartbeat=ago(1), transition=ago(1))],
            "addresses": [
                {"type": "InternalIP", "address": "10.1.2.3"},
                {"type": "Hostname", "address": "edge"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {"architecture": "amd64", "kubeletVersion": "0.3.0-alpha.0"},
            **status,
        },
        "ExtendResources": None,
    }


async def answer_to(cloud: Cloud, question: Message) -> Message:
    while (message := await cloud.next()).parent_id != question.id:
        pass
    return message


async def test_node_status_is_written_and_answered(running: Cloud) -> None:
    question = await running.from_edge("update", STATUS, node_status())
    answer = await answer_to(running, question)
    assert (answer.source, answer.group) == ("edgecontroller", "resource")
    assert (answer.operation, answer.resource, answer.content) == ("response", ANSWER, "OK")
    written = (await running.api.get(NODES, NODE))["status"]
    reported = node_status()["Status"]
    for key in ("capacity", "allocatable", "addresses", "phase"):
        assert written[key] == reported[key], key
    assert written["nodeInfo"]["kubeletVersion"] == "0.3.0-alpha.0"


async def test_node_status_is_patched_not_overwritten(running: Cloud) -> None:
    attached = [{"name": "volume", "devicePath": "/dev/x"}]
    of_others = {"type": "NetworkUnavailable", "status": "False"}
    status = {
        "volumesAttached": attached,
        "conditions": [of_others],
        "capacity": {"example.com/gone": "1"},
        "addresses": [{"type": "ExternalIP", "address": "1.2.3.4"}],
    }
    await running.api.patch(NODES, NODE, {"status": status}, subresource="status")
    await running.drain()
    question = await running.from_edge("update", STATUS, node_status(volumesAttached=[]))
    await answer_to(running, question)
    written = (await running.api.get(NODES, NODE))["status"]
    assert written["volumesAttached"] == attached
    assert {c["type"] for c in written["conditions"]} == {"NetworkUnavailable", "Ready"}
    assert set(written["capacity"]) == {"cpu", "memory", "pods"}
    assert [a["type"] for a in written["addresses"]] == ["InternalIP", "Hostname"]


async def test_old_times_are_refreshed(running: Cloud) -> None:
    conditions = [
        ready(heartbeat=ago(100), transition=ago(100)),
        {**ready(heartbeat=None, transition="2006-01-02T15:04:05.123456789Z"), "type": "Other"},
        {**ready(heartbeat=ago(5), transition=ago(5)), "type": "Recent"},
    ]
    question = await running.from_edge("update", STATUS, node_status(conditions=conditions))
    await answer_to(running, question)
    written = (await running.api.get(NODES, NODE))["status"]["conditions"]
    by_type = {c["type"]: c for c in written}
    for refreshed in ("Ready", "Other"):
        assert by_type[refreshed]["lastHeartbeatTime"] >= ago(3)
        assert by_type[refreshed]["lastTransitionTime"] >= ago(3)
    assert by_type["Recent"]["lastHeartbeatTime"] == conditions[2]["lastHeartbeatTime"]


async def test_extended_resources_become_annotations(running: Cloud) -> None:
    status = node_status()
    status["ExtendResources"] = {
        "nvidia.com/gpu": [{"name": "nvidia0", "type": "Tesla", "capacity": "1"}],
        "example.com/fpga": [{"name": "f", "capacity": "2"}],
    }
    await answer_to(running, await running.from_edge("update", STATUS, status))
    annotations = (await running.api.get(NODES, NODE))["metadata"]["annotations"]
    assert annotations == {
        "nvidia.com/gpu": '[{"name":"nvidia0","type":"Tesla","capacity":"1"}]',
        "huawei.com/gpu-status": '[{"id":"nvidia0","healthy":true}]',
        "example.com/fpga": '[{"name":"f","capacity":"2"}]',
    }


async def test_status_of_an_unknown_node_has_no_answer(running: Cloud) -> None:
    unknown = await running.from_edge(
        "update", "default/nodestatus/unknown", node_status(), node="unknown"
    )
    assert unknown.id not in {m.parent_id for m in await running.drain()}


async def test_a_node_cannot_report_for_another(running: Cloud) -> None:
    await running.from_edge("update", STATUS, node_status(), node="intruder")
    await running.drain()
    assert "capacity" not in (await running.api.get(NODES, NODE)).get("status", {})


@pytest.mark.parametrize(
    ("operation", "resource", "content"),
    [
        ("update", STATUS, b"no json"),
        ("update", STATUS, b"[]"),
        ("update", STATUS, {"Status": {"conditions": [1]}}),
        ("update", STATUS, {"Status": {"capacity": 7}}),
        ("update", STATUS, {"Status": {}, "ExtendResources": {"nvidia.com/gpu": [1]}}),
        ("update", "default/podstatus/p", {"Name": "p", "Status": {"conditions": {"a": 1}}}),
        ("update", "default/podstatus/p", {"Name": "p", "Status": {"containerStatuses": [{}]}}),
        ("update", "default/podstatus/p", {"Name": "a/b", "Status": {}}),
        ("update", "default/podstatus", {"Name": "p", "Status": {}}),
        ("update", "default/podstatus", []),
        ("update", f"default/node/{NODE}", {"metadata": {"annotations": {"a": 1}}}),
        ("query", "default/nodestatus/x", None),
        ("delete", "default/pod/p", None),
        ("query", "default/pod/p", None),
        ("query", "default/configmap", None),
        ("update", "nonsense", None),
        ("disconnected", "x", None),
    ],
)
async def test_senseless_messages_do_no_harm(
    running: Cloud, operation: str, resource: str, content: Any
) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.from_edge(operation, resource, content)
    await answer_to(running, await running.from_edge("update", STATUS, node_status()))


async def test_node_annotations_are_merged(running: Cloud) -> None:
    await running.api.patch(NODES, NODE, {"metadata": {"annotations": {"a": "1", "b": "1"}}})
    update = {"metadata": {"name": NODE, "annotations": {"b": "2", "c": "2"}}, "spec": {}}
    question = await running.from_edge("update", f"default/node/{NODE}", update)
    answer = await answer_to(running, question)
    assert (answer.operation, answer.resource, answer.content) == ("response", ANSWER, "OK")
    annotations = (await running.api.get(NODES, NODE))["metadata"]["annotations"]
    assert annotations == {"a": "1", "b": "2", "c": "2"}


def pod_status(name: str, uid: str = "", **status: Any) -> Json:
    return {"UID": uid, "Name": name, "Status": status}


def container(name: str, **state: Any) -> Json:
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": "running" in state,
        "restartCount": 0,
        "image": "nginx:1",
        "imageID": "",
    }


async def written_pod(cloud: Cloud, name: str, phase: str) -> Json:
    return await eventually(
        lambda: cloud.api.get(PODS, name, "default"),
        lambda found: found and found["status"].get("phase") == phase,
    )


async def test_pod_status(running: Cloud) -> None:
    created = await running.api.create(PODS, pod("p"), "default")
    conditions = [{"type": "Ready", "status": "True", "lastProbeTime": None}]
    started = {"startedAt": "2026-01-02T03:04:05.678Z"}
    status = pod_status(
        "p",
        created["metadata"]["uid"],
        phase="Running",
        conditions=conditions,
        containerStatuses=[container("z", running=started), container("a", running=started)],
        podIP="10.0.0.9",
    )
    await running.from_edge("update", "default/podstatus/p", status)
    written = (await written_pod(running, "p", "Running"))["status"]
    assert written["podIP"] == "10.0.0.9"
    assert written["startTime"] >= ago(5)
    assert [c["name"] for c in written["containerStatuses"]] == ["a", "z"]
    state = written["containerStatuses"][0]["state"]
    assert state == {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    [condition] = [c for c in written["conditions"] if c["type"] == "Ready"]
    assert condition["lastTransitionTime"] >= ago(5)


async def test_pod_status_keeps_times(running: Cloud) -> None:
    await running.api.create(PODS, pod("p"), "default")
    old = "2020-01-01T00:00:00Z"
    conditions = [
        {"type": "Ready", "status": "True", "lastTransitionTime": old},
        {"type": "Initialized", "status": "False", "lastTransitionTime": old},
        {"type": "Others", "status": "True", "lastTransitionTime": old},
    ]
    before = {"status": {"startTime": old, "conditions": conditions, "reason": "Because"}}
    await running.api.patch(PODS, "p", before, "default", subresource="status")
    await running.drain()
    reported = [
        {"type": "Ready", "status": "True", "lastTransitionTime": ago(1)},
        {"type": "Initialized", "status": "True", "lastTransitionTime": ago(1)},
    ]
    status = pod_status("p", phase="Running", startTime=ago(1), conditions=reported)
    await running.from_edge("update", "default/podstatus/p", status)
    written = (await written_pod(running, "p", "Running"))["status"]
    assert written["startTime"] == old
    assert "reason" not in written
    by_type = {c["type"]: c for c in written["conditions"]}
    assert by_type["Ready"]["lastTransitionTime"] == old
    assert by_type["Initialized"]["lastTransitionTime"] >= ago(5)
    assert by_type["Others"]["lastTransitionTime"] == old


async def test_list_of_pod_statuses(running: Cloud) -> None:
    """An edge sends all under the namespace of the first: the uid tells which pod is meant."""
    await running.api.create(PODS, pod("p"), "default")
    other = pod("q")
    other["metadata"]["namespace"] = "kube-system"
    created = await running.api.create(PODS, other, "kube-system")
    await running.drain()
    statuses = [
        pod_status("p", phase="Running"),
        pod_status("q", created["metadata"]["uid"], phase="Running"),
    ]
    await running.from_edge("update", "default/podstatus", statuses)
    await written_pod(running, "p", "Running")
    await eventually(
        lambda: running.api.get(PODS, "q", "kube-system"),
        lambda found: found["status"].get("phase") == "Running",
    )


async def test_unknown_pod_is_deleted_from_the_node(running: Cloud) -> None:
    await running.from_edge("update", "default/podstatus/p", pod_status("p", phase="Running"))
    message = await running.next()
    assert (message.source, message.group) == ("edgecontroller", "resource")
    assert (message.operation, message.resource) == ("delete", f"node/{NODE}/default/pod/p")
    assert message.parent_id == ""
    assert message.content == {
        "metadata": {"name": "p", "namespace": "default", "creationTimestamp": None},
        "spec": {"containers": None},
        "status": {},
    }


async def test_pod_of_another_node_is_deleted_from_this_one(running: Cloud) -> None:
    await running.api.create(NODES, node("other"))
    await running.api.create(PODS, pod("p", "other"), "default")
    await running.drain()
    await running.from_edge("update", "default/podstatus/p", pod_status("p", phase="Failed"))
    await running.until("delete", f"node/{NODE}/default/pod/p")
    assert (await running.api.get(PODS, "p", "default"))["status"].get("phase") != "Failed"


async def test_status_of_an_earlier_pod_is_dropped(running: Cloud) -> None:
    created = await running.api.create(PODS, pod("p"), "default")
    await running.drain()
    await running.from_edge("update", "default/podstatus/p", pod_status("p", "old", phase="Failed"))
    uid = created["metadata"]["uid"]
    await running.from_edge("update", "default/podstatus/p", pod_status("p", uid, phase="Running"))
    await written_pod(running, "p", "Running")


@pytest.mark.parametrize(
    ("phase", "states"),
    [
        ("Succeeded", [{"terminated": {"exitCode": 0}}]),
        ("Failed", []),
        ("Running", [{"terminated": {"exitCode": 0}}, {"terminated": {"exitCode": 1}}]),
    ],
)
async def test_deletion_is_completed(running: Cloud, phase: str, states: list[Json]) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.api.delete(PODS, "p", "default", grace_period=30)
    await running.drain()
    containers = [container(f"c{n}", **state) for n, state in enumerate(states)]
    status = pod_status("p", phase=phase, containerStatuses=containers)
    await running.from_edge("update", "default/podstatus/p", status)
    message = await running.next()
    assert (message.operation, message.resource) == ("delete", f"node/{NODE}/default/pod/p")
    await eventually(lambda: running.api.get(PODS, "p", "default"), lambda found: found is None)


async def test_deletion_waits_for_running_containers(running: Cloud) -> None:
    await running.api.create(PODS, pod("p"), "default")
    await running.api.delete(PODS, "p", "default", grace_period=30)
    containers = [container("a", running={}), container("b", terminated={"exitCode": 0})]
    status = pod_status("p", phase="Failed", containerStatuses=containers)
    await running.from_edge("update", "default/podstatus/p", status)
    await written_pod(running, "p", "Failed")
    await running.drain()
    assert await running.api.get(PODS, "p", "default")


OBJECTS: list[tuple[str, Resource, Json]] = [
    ("configmap", CONFIGMAPS, configmap("x", k="v")),
    ("secret", SECRETS, {"metadata": {"name": "x"}, "data": {"k": "dg=="}}),
    ("service", SERVICES, {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 1}]}}),
    ("endpoints", ENDPOINTS, {"metadata": {"name": "x"}, "subsets": []}),
    (
        "persistentvolume",
        PERSISTENTVOLUMES,
        {"metadata": {"name": "x"}, "spec": {"capacity": {"storage": "1Gi"}}},
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
    ("node", NODES, {"metadata": {"name": "x"}}),
]


@pytest.mark.parametrize(("kind", "resource", "obj"), OBJECTS, ids=[o[0] for o in OBJECTS])
async def test_queries(running: Cloud, kind: str, resource: Resource, obj: Json) -> None:
    created = await running.api.create(resource, obj, "default" if resource.namespaced else None)
    question = await running.from_edge("query", f"default/{kind}/x")
    answer = await answer_to(running, question)
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
    question = await running.from_edge("query", "default/configmap/none")
    assert question.id not in {m.parent_id for m in await running.drain()}


async def test_endpoints_query_brings_the_podlist(running: Cloud) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 1}]}}
    await running.api.create(SERVICES, service, "default")
    await running.api.create(ENDPOINTS, {"metadata": {"name": "s"}}, "default")
    await running.api.create(PODS, pod("p", labels={"a": "b"}), "default")
    await running.drain()
    await answer_to(running, await running.from_edge("query", "default/endpoints/s"))
    message = await running.next()
    assert (message.operation, message.resource) == ("update", f"node/{NODE}/default/podlist/s")
    assert [p["metadata"]["name"] for p in message.content] == ["p"]


async def test_a_queried_configmap_is_updated_not_inserted(running: Cloud) -> None:
    """A v1.1 edge would keep what it has asked for and ignore an insert."""
    await running.api.create(CONFIGMAPS, configmap("cm", a="1"), "default")
    await answer_to(running, await running.from_edge("query", "default/configmap/cm"))
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


async def test_details_are_reported(running: Cloud) -> None:
    await running.from_edge("update", STATUS, node_status())
    details = await eventually(
        lambda: asyncio.sleep(0, running.context.details), lambda found: found.get("handled")
    )
    assert details["connected_nodes"] == 1
    assert details["cached"]["nodes"] == 2
    json.dumps(details)

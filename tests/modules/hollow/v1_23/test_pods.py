"""The lives of pods: what they wait for, what is reported, and how they end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ipc import Message
from modules.common.times import format_time, now
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from modules.hollow.v1_23.client import is_due
from modules.hollow.v1_23.volumes import attachment_name
from tests.modules.hollow.cloud import Cloud
from tests.modules.hollow.v1_23.api import TIMING, Api, edged_of, pod, status_of, value_of

POD = "default/pod/p1"
NODE = "null/node/edge-1"
PATCH = "default/podpatch/p1"
DAY = 86400


def phase(api: Api, key: str = POD) -> str:
    return str(api.objects[key]["status"]["phase"])


def patches(api: Api, key: str = POD) -> list[dict[str, Any]]:
    return [patch for patched, patch in api.patches if patched == key]


def deleted(made: dict[str, Any]) -> dict[str, Any]:
    return made | {"metadata": made["metadata"] | {"deletionTimestamp": "2026-11-28T13:04:30Z"}}


async def test_a_pod_is_pending_and_then_runs(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    api.push("insert", POD, pod())
    await cloud.wait(lambda: phase(api) == "Running")
    first, second = patches(api)
    assert first["metadata"] == second["metadata"] == {"uid": "uid-p1"}
    assert [each["type"] for each in first["status"]["conditions"]] == [
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    ]  # fmt: skip
    (container,) = first["status"]["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "phase" not in first["status"]  # it was Pending before
    assert second["status"]["phase"] == "Running"
    order = second["status"]["$setElementOrder/conditions"]
    assert len(order) == 5
    (ready,) = [c for c in second["status"]["conditions"] if c["type"] == "Ready"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("True", None, None)
    assert second["status"]["podIPs"] == [{"ip": second["status"]["podIP"]}]
    stored = await edge.wait_for(POD, lambda found: found["status"]["phase"] == "Running")
    assert stored == api.objects[POD]


async def test_the_answer_to_a_patch_is_not_acknowledged(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    api.push("insert", POD, pod())
    answer = await edge.wait_message(lambda message: message.resource == PATCH)
    await cloud.wait(lambda: phase(api) == "Running")
    assert not [message for message in cloud.messages if message.parent_id == answer.id]


async def test_an_unchanged_status_is_not_reported_again(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    """The API has left out what was null."""
    api.push("insert", POD, pod())
    await cloud.wait(lambda: phase(api) == "Running")
    assert "lastProbeTime" not in api.objects[POD]["status"]["conditions"][0]
    for _ in range(5):
        edged_of(edge).report_all()
        api.push("insert", "default/pod/p2", pod("p2", uid=os.urandom(4).hex()))
        await cloud.wait(lambda: phase(api, "default/pod/p2") == "Running")
    assert len(patches(api)) == 2


async def test_a_pod_waits_for_a_configmap_and_is_told_when_it_comes(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    volumes = [{"name": "a", "configMap": {"name": "cm"}}]
    api.push("insert", POD, pod(volumes=volumes))
    await cloud.message("query", "default/configmap/cm", skip=2)
    assert phase(api) == "Pending"
    api.put("default/configmap/cm", {"metadata": {"name": "cm"}, "data": {"k": "v"}})
    await cloud.wait(lambda: phase(api) == "Running")
    assert edge.configmaps["default/cm"]["data"] == {"k": "v"}


async def test_a_stored_secret_is_not_asked_for(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    api.push("update", "default/secret/s", {"metadata": {"name": "s"}, "data": {}})
    api.push("insert", POD, pod(volumes=[{"name": "s", "secret": {"secretName": "s"}}]))
    await cloud.wait(lambda: phase(api) == "Running")
    assert not [message for message in cloud.messages if message.resource == "default/secret/s"
                and message.operation == "query"]  # fmt: skip


async def test_tokens_are_asked_for_once_and_kept(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    source = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    spec = {
        "serviceAccountName": "builder",
        "volumes": [{"name": "t", "projected": {"sources": [source]}}],
    }
    api.push("insert", POD, pod(**spec))
    question = await cloud.message("query", "default/serviceaccounttoken/builder")
    assert value_of(question) == {
        "metadata": {"creationTimestamp": None},
        "spec": {
            "audiences": None,
            "expirationSeconds": 3607,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p1", "uid": "uid-p1"},
        },
        "status": {"token": "", "expirationTimestamp": None},
    }
    await cloud.wait(lambda: phase(api) == "Running")
    await edge.restart()
    await edge.wait_until(lambda: POD in edged_of(edge).statuses, 20, "the pod's status")
    asked = [m for m in cloud.messages if "serviceaccounttoken" in m.resource and not m.parent_id]
    assert len(asked) == 1


async def test_a_token_near_its_end_is_renewed(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    source = {"serviceAccountToken": {"audience": "x", "expirationSeconds": 600}}
    spec = {"volumes": [{"name": "t", "projected": {"sources": [source]}}]}
    api.token_expires = "2020-01-01T00:00:00Z"
    api.push("insert", POD, pod(**spec))
    question = await cloud.message("query", "default/serviceaccounttoken/default")
    assert value_of(question)["spec"]["audiences"] == ["x"]
    await cloud.wait(lambda: phase(api) == "Running")
    api.push("update", POD, api.objects[POD])
    await cloud.message("query", "default/serviceaccounttoken/default", skip=1)


@pytest.mark.parametrize(
    ("life", "left", "due"),
    [(600, 300, False), (600, 119, True), (600, -1, True), (3 * DAY, 2 * DAY - 60, True)],
)
def test_a_token_is_renewed_after_80_percent_of_its_life_and_after_a_day(
    life: int, left: int, due: bool
) -> None:
    expires = format_time(now() + timedelta(seconds=left), "microseconds")
    spec = {"expirationSeconds": life}
    assert is_due({"spec": spec, "status": {"expirationTimestamp": expires}}) is due


ON_VOLUME = pod(volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])


async def test_volumes_are_followed_to_their_attachment(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    claim, volume = "default/persistentvolumeclaim/data", "null/persistentvolume/pv1"
    attachment = f"default/volumeattachment/{attachment_name('h1', 'd1', 'edge-1')}"
    api.push("insert", POD, ON_VOLUME)
    await cloud.message("query", claim)
    api.put(claim, {"metadata": {"name": "data"}, "spec": {}})
    await cloud.message("query", claim, skip=2)  # not bound yet
    api.put(claim, {"metadata": {"name": "data"}, "spec": {"volumeName": "pv1"}})
    csi = {"driver": "d1", "volumeHandle": "h1"}
    api.put(volume, {"metadata": {"name": "pv1"}, "spec": {"csi": csi}})

    # The Node says first that it uses the volume, and then that it is attached.
    def in_use() -> Any:
        return api.objects[NODE]["status"].get("volumesInUse")

    await cloud.wait(lambda: in_use() == ["kubernetes.io/csi/d1^h1"])
    asked = [each.resource for each in cloud.messages if each.operation == "query"]
    await cloud.message("query", claim, skip=asked.count(claim) + 1)  # a whole attempt later
    assert attachment not in [message.resource for message in cloud.messages]
    node = api.objects[NODE]
    attached = [{"name": "kubernetes.io/csi/d1^h1", "devicePath": ""}]
    status = node["status"] | {"volumesAttached": attached}
    api.push("update", NODE, node | {"status": status})
    await cloud.message("query", attachment)
    assert phase(api) != "Running"
    api.put(attachment, {"metadata": {"name": "a"}, "status": {"attached": False}})
    await cloud.message("query", attachment, skip=2)
    api.put(attachment, {"metadata": {"name": "a"}, "status": {"attached": True}})
    await cloud.wait(lambda: phase(api) == "Running")
    api.push("update", POD, deleted(api.objects[POD]))
    await cloud.wait(lambda: in_use() is None)


async def test_a_deleted_pod_reports_its_end_and_then_is_deleted(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    api.push("insert", POD, pod())
    await cloud.wait(lambda: phase(api) == "Running")
    api.push("update", POD, deleted(api.objects[POD]))
    question = await cloud.message("delete", POD)
    assert value_of(question) == {"gracePeriodSeconds": 0, "preconditions": {"uid": "uid-p1"}}
    assert phase(api) == "Succeeded"
    (container,) = api.objects[POD]["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 0
    answered = await edge.wait_message(lambda m: m.parent_id == question.id)
    assert answered.content == "OK"
    assert POD in edge.objects
    edged_of(edge).report_all()
    api.push("insert", "default/pod/p2", pod("p2"))
    await cloud.wait(lambda: phase(api, "default/pod/p2") == "Running")
    pushed = api.push("delete", POD)
    await cloud.message("response", POD, parent_id=pushed.id)
    assert edge.pods.keys() == {"default/p2"}
    assert edged_of(edge).statuses.keys() == {"default/pod/p2"}
    assert sum(message.operation == "delete" for message in cloud.messages) == 1


async def test_a_pod_that_waits_for_an_answer_ends_at_once_when_it_is_deleted(
    cloud: Cloud, api: Api
) -> None:
    api.silent = {"configmap"}
    timing = replace(TIMING, query=30)
    async with HollowEdge("edge-1", cloud.url, kubeedge="1.23", timing=timing) as edge:
        await edge.wait_connected()
        api.push("insert", POD, pod(volumes=[{"name": "a", "configMap": {"name": "cm"}}]))
        await cloud.message("query", "default/configmap/cm")
        await cloud.wait(lambda: patches(api))
        api.push("update", POD, deleted(api.objects[POD]))
        await cloud.message("delete", POD)


async def test_what_was_not_answered_is_reported_again(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    api.silent = {"podpatch"}
    api.push("insert", POD, pod())
    await cloud.message("patch", PATCH, skip=1)
    api.silent = set()
    await cloud.wait(lambda: phase(api) == "Running")


async def test_a_refused_patch_is_tried_again(
    cloud: Cloud, api: Api, edge: HollowEdge, events: list[Event]
) -> None:
    api.refusals["patch", "podpatch"] = status_of("Forbidden", 403)
    api.push("insert", POD, pod())
    await cloud.wait(lambda: phase(api) == "Running")
    assert any(e.kind == "not reported" and "Forbidden" in e.detail for e in events)


async def test_a_pod_created_again_under_its_name_is_another_one(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    api.push("insert", POD, pod(uid="old"))
    await cloud.wait(lambda: phase(api) == "Running")
    api.push("update", POD, pod(uid="new"))
    await cloud.wait(lambda: phase(api) == "Running")
    assert [patch["metadata"]["uid"] for patch in patches(api)][-1] == "new"


async def test_a_pod_of_another_node_does_not_run(
    cloud: Cloud, api: Api, edge: HollowEdge, events: list[Event]
) -> None:
    api.push("insert", POD, pod(node="edge-2"))
    await edge.wait_until(lambda: any(e.kind == "ignored" for e in events), 20, "the event")
    assert edged_of(edge).statuses == {}
    assert POD in edge.objects


async def test_after_a_restart_stored_pods_go_on(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    api.push("insert", POD, pod())
    await cloud.wait(lambda: phase(api) == "Running")
    await edge.wait_for(POD, lambda found: found["status"]["phase"] == "Running")
    await edge.restart()
    await edge.wait_until(lambda: POD in edged_of(edge).statuses, 20, "the pod's status")
    await cloud.wait(lambda: len(cloud.sessions) == 2)
    api.push("update", POD, deleted(api.objects[POD]))
    await cloud.message("delete", POD)
    assert len(patches(api)) == 3


async def test_events_are_sent_only_if_asked_for(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    api.push("insert", POD, pod())
    await cloud.wait(lambda: phase(api) == "Running")
    assert not [message for message in cloud.messages if "/event/" in message.resource]
    async with HollowEdge(
        "edge-2", cloud.url, kubeedge="1.23", timing=TIMING, report_events=True
    ) as other:
        await other.wait_connected()
        await cloud.wait(lambda: any("/event/edge-2." in m.resource for m in cloud.messages))
        api.push("insert", POD, pod(node="edge-2"))
        await cloud.wait(lambda: any("/event/p1." in m.resource for m in cloud.messages))
    sent = next(m for m in cloud.messages if "/event/p1." in m.resource)
    event = value_of(sent)
    assert (sent.operation, event["reason"], event["type"]) == ("insert", "Started", "Normal")
    assert event["involvedObject"]["uid"] == "uid-p1"


async def test_secrets_and_tokens_stay_out_of_events(
    cloud: Cloud, api: Api, edge: HollowEdge, events: list[Event]
) -> None:
    source = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    api.push("update", "default/secret/s", {"metadata": {"name": "s"}, "data": {"k": "aHVzaA=="}})
    api.push("insert", POD, pod(volumes=[{"name": "t", "projected": {"sources": [source]}}]))
    await cloud.wait(lambda: phase(api) == "Running")
    shown = "".join(event.as_text() + event.as_json() for event in events)
    assert "aHVzaA==" not in shown
    assert "secret-token" not in shown


async def test_a_pod_that_comes_while_the_edge_stops_is_stored(edge: HollowEdge) -> None:
    """It runs when the edge is started again."""
    task = edge._task
    assert task is not None
    task.cancel()
    for number in range(50):  # at each turn of the loop, until the edge has stopped
        message = Message.build(
            "edgecontroller", "resource", "insert", f"default/pod/late-{number}", pod()
        )
        edge.meta.handle(message)
        await asyncio.sleep(0)
    await asyncio.wait([task])
    assert task.cancelled()
    assert len([key for key in edge.meta.store.objects if "/late-" in key]) == 50

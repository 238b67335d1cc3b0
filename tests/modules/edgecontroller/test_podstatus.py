from typing import Any

import pytest

from modules.common.kube import NODES, PODS
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, Json, node, pod
from .samples import ago


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

import asyncio
import json
from typing import Any

import pytest

from modules.common.kube import NODES, PODS
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, pod
from .samples import ANSWER, STATUS, ago, node_status, ready


async def test_node_status_is_written_and_answered(running: Cloud) -> None:
    question = await running.from_edge("update", STATUS, node_status())
    answer = await running.answer_to(question)
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
    await running.answer_to(question)
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
    await running.answer_to(question)
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
    await running.answer_to(await running.from_edge("update", STATUS, status))
    annotations = (await running.api.get(NODES, NODE))["metadata"]["annotations"]
    assert annotations == {
        "nvidia.com/gpu": '[{"name":"nvidia0","type":"Tesla","capacity":"1"}]',
        "huawei.com/gpu-status": '[{"id":"nvidia0","healthy":true}]',
        "example.com/fpga": '[{"name":"f","capacity":"2"}]',
    }


async def test_status_of_an_unknown_node_is_answered_with_an_error(running: Cloud) -> None:
    """Which an edge of v1.1 passes over, as it does no answer (process in msg_processor.go)."""
    unknown = await running.from_edge(
        "update", "default/nodestatus/unknown", node_status(), node="unknown"
    )
    answer = await running.answer_to(unknown)
    assert answer.operation == "error"
    assert "no Node unknown in the cluster" in answer.content


async def test_a_node_cannot_report_for_another(running: Cloud) -> None:
    await running.from_edge("update", STATUS, node_status(), node="intruder")
    await running.drain()
    assert "capacity" not in (await running.api.get(NODES, NODE)).get("status", {})


async def test_node_annotations_are_merged(running: Cloud) -> None:
    await running.api.patch(NODES, NODE, {"metadata": {"annotations": {"a": "1", "b": "1"}}})
    update = {"metadata": {"name": NODE, "annotations": {"b": "2", "c": "2"}}, "spec": {}}
    question = await running.from_edge("update", f"default/node/{NODE}", update)
    answer = await running.answer_to(question)
    assert (answer.operation, answer.resource, answer.content) == ("response", ANSWER, "OK")
    annotations = (await running.api.get(NODES, NODE))["metadata"]["annotations"]
    assert annotations == {"a": "1", "b": "2", "c": "2"}


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
    await running.answer_to(await running.from_edge("update", STATUS, node_status()))


async def test_details_are_reported(running: Cloud) -> None:
    await running.from_edge("update", STATUS, node_status())
    details = await eventually(
        lambda: asyncio.sleep(0, running.context.details), lambda found: found.get("handled")
    )
    assert details["connected_nodes"] == 2  # the node, and the one that asks in drain
    assert details["cached"]["nodes"] == 2
    json.dumps(details)

"""Messages of EdgeController: stored, answered, run, reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from modules.hollow.references import references
from tests.modules.hollow.cloud import Cloud, captured

FRAMES = Path(__file__).parents[3] / "data" / "frames" / "v1.1"


def pod(name: str = "p1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}], **spec},
    }


def body(message: Message) -> Any:
    return json.loads(message.content)


async def test_answers_as_the_recorded_edge(cloud: Cloud, edge: HollowEdge) -> None:
    """Each pod message of the recorded cloud gets the answer the recorded edge gave."""
    lines = [line for line in captured() if "message" in line]
    asked = [
        line["message"]
        for line in lines
        if line["dir"] == "cloud->edge" and line["message"]["route"]["source"] == "edgecontroller"
    ]
    answers = {
        line["message"]["header"]["parent_msg_id"]: line["message"]
        for line in lines
        if line["dir"] == "edge->cloud" and "parent_msg_id" in line["message"]["header"]
    }
    assert len(asked) == 4
    for message in asked:
        header, route = message["header"], message["route"]
        cloud.send(
            Message(
                header["msg_id"],
                "",
                header["timestamp"],
                False,
                route["source"],
                route["group"],
                route["operation"],
                route["resource"],
                message["content"],
            )
        )
        recorded = answers[header["msg_id"]]
        got = await cloud.message(
            "response", recorded["route"]["resource"], parent_id=header["msg_id"]
        )
        assert (got.source, got.group) == (recorded["route"]["source"], recorded["route"]["group"])
        assert got.content == recorded["content"].encode()
    await edge.wait_gone("default/pod/p1")


async def test_a_pod_runs_and_is_reported(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    cloud.send_object("insert", "default/pod/p1", pod())
    assert await edge.wait_for("default/pod/p1") == pod()
    report = await cloud.message("update", "default/podstatus/p1")
    assert (report.source, report.group) == ("edged", "meta")
    request = body(report)
    assert set(request) == {"UID", "Name", "Status"}
    assert (request["UID"], request["Name"]) == ("uid-p1", "p1")
    assert request["Status"]["phase"] == "Running"
    (container,) = request["Status"]["containerStatuses"]
    assert (container["name"], container["ready"], list(container["state"])) == (
        "c", True, ["running"],
    )  # fmt: skip
    conditions = {c["type"]: c["status"] for c in request["Status"]["conditions"]}
    assert conditions == {"Initialized": "True", "Ready": "True", "PodScheduled": "True"}
    assert ("pod", "default/pod/p1", "Running") in [(e.kind, e.subject, e.detail) for e in events]


async def test_a_pod_waits_for_what_it_refers_to(cloud: Cloud, edge: HollowEdge) -> None:
    volumes = [
        {"name": "a", "configMap": {"name": "cm"}},
        {"name": "b", "secret": {"secretName": "se"}},
    ]
    cloud.send_object("insert", "default/pod/p1", pod(volumes=volumes))
    question = await cloud.message("query", "default/configmap/cm")
    assert (question.source, question.group, question.content) == ("edged", "meta", b"")
    await cloud.message("query", "default/secret/se")
    pending = body(await cloud.message("update", "default/podstatus/p1"))["Status"]
    assert pending["phase"] == "Pending"
    assert list(pending["containerStatuses"][0]["state"]) == ["waiting"]

    answer = question.response({"data": {"k": "v"}}, source="edgecontroller", group="resource")
    cloud.send(answer)
    await edge.wait_for("default/configmap/cm", lambda found: found["data"] == {"k": "v"})
    cloud.send_object("update", "default/secret/se", {"data": {}})
    await cloud.wait(
        lambda: any(
            message.resource == "default/podstatus/p1"
            and body(message)["Status"]["phase"] == "Running"
            for message in cloud.messages
        )
    )


async def test_an_error_instead_of_an_object_leaves_the_pod_waiting(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    cloud.send_object(
        "insert", "default/pod/p1", pod(volumes=[{"name": "a", "configMap": {"name": "cm"}}])
    )
    question = await cloud.message("query", "default/configmap/cm")
    cloud.send(question.error("not found", source="edgecontroller", group="resource"))
    await edge.wait_until(lambda: "query failed" in [event.kind for event in events], 20, "failure")
    assert edge.edged.statuses["default/pod/p1"]["phase"] == "Pending"
    edge.edged._node_tick()
    await cloud.message("query", "default/configmap/cm", skip=1)


async def test_a_deleted_pod_ends_and_goes(cloud: Cloud, edge: HollowEdge) -> None:
    cloud.send_object("insert", "default/pod/p1", pod())
    await cloud.message("update", "default/podstatus/p1")
    going = pod()
    going["metadata"]["deletionTimestamp"] = "2026-11-23T23:09:31Z"
    cloud.send_object("update", "default/pod/p1", going)
    status = body(await cloud.message("update", "default/podstatus/p1", skip=1))["Status"]
    assert status["phase"] == "Succeeded"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    cloud.send_object("delete", "default/pod/p1", going)
    await edge.wait_gone("default/pod/p1")
    assert edge.pods == {}
    assert edge.edged.statuses == {}


async def test_an_unchanged_pod_is_not_reported_again(cloud: Cloud, edge: HollowEdge) -> None:
    for _ in range(3):
        cloud.send_object("update", "default/pod/p1", pod())
    cloud.send_object("update", "default/pod/p2", pod("p2"))
    await cloud.message("update", "default/podstatus/p2")
    reports = [message for message in cloud.messages if "podstatus/p1" in message.resource]
    assert len(reports) == 1


async def test_the_sync_sends_all_pods_of_a_namespace_in_one_list(
    cloud: Cloud, edge: HollowEdge
) -> None:
    other = pod("p3")
    other["metadata"]["namespace"] = "other"
    cloud.send_object("insert", "default/pod/p1", pod())
    cloud.send_object("insert", "default/pod/p2", pod("p2"))
    cloud.send_object("insert", "other/pod/p3", other)
    await edge.wait_for("other/pod/p3")
    edge.edged.report_all_pods()
    message = await cloud.message("update", "default/podstatus")
    assert (message.source, message.group) == ("metaManager", "resource")
    assert [request["Name"] for request in body(message)] == ["p1", "p2"]
    assert [r["Name"] for r in body(await cloud.message("update", "other/podstatus"))] == ["p3"]


async def test_lists_are_taken_apart(cloud: Cloud, edge: HollowEdge) -> None:
    metadata = [{"namespace": "default", "name": name} for name in ("a", "b")]
    items = [{"metadata": each} for each in metadata]
    for resource in ("default/servicelist", "default/endpointslist"):
        message = cloud.send_object("update", resource, items)
        assert (await cloud.message("response", resource)).parent_id == message.id
    cloud.send_object("update", "default/podlist/a", [pod()])
    await edge.wait_for("default/podlist/a")
    assert edge.services.keys() == edge.endpoints.keys() == {"default/a", "default/b"}


async def test_node_status_has_the_recorded_form(cloud: Cloud, edge: HollowEdge) -> None:
    frame = json.loads((FRAMES / "03-nodestatus-update.json").read_text())
    message = await cloud.message("update", "default/nodestatus/edge-1")
    assert (message.source, message.group) == (frame["route"]["source"], frame["route"]["group"])
    assert keys(body(message)) == keys(frame["content"])
    assert body(message)["Status"]["addresses"][1] == {"type": "Hostname", "address": "edge-1"}


def keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(inner) for inner in value] if isinstance(value, list) else None


async def test_other_answers(cloud: Cloud, edge: HollowEdge, events: list[Event]) -> None:
    cloud.send_object("insert", "default/configmap/bad", b"{not json")
    error = await cloud.message("error", "default/configmap/bad")
    assert error.source == "metaManager"
    assert error.content.startswith(b"Error to unmarshal")
    cloud.send(Message.build("edgecontroller", "nobody", "insert", "default/configmap/c", {}))
    cloud.send_object("no operation", "default/volume/v", {})
    cloud.send_object("response", "default/configmap/c", {"data": {}})
    cloud.send_object("response", "default/nodestatus/edge-1", "OK")
    await edge.wait_until(lambda: edge.meta.acknowledged == 1, 20, "the OK")
    kinds = {event.kind for event in events}
    assert {"unreadable", "discarded", "ignored", "unasked"} <= kinds
    assert edge.objects == {}


async def test_what_the_cloud_does_not_take_is_shown_once(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    """Such as the status of a node that is not in the cluster, which is reported every 10 s."""
    for times in (1, 2):
        for _ in range(3):
            cloud.send_object("error", "default/nodestatus/edge-1", b"there is no Node edge-1")
        cloud.send_object("response", "default/nodestatus/edge-1", "OK")
        await edge.wait_until(lambda times=times: edge.meta.acknowledged == times, 20, "the OK")
        shown = [event.detail for event in events if event.kind == "refused"]
        assert shown == ["there is no Node edge-1"] * times


async def test_secrets_stay_out_of_events(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    cloud.send_object("update", "default/secret/s", {"data": {"password": "aHVzaA=="}})
    await edge.wait_for("default/secret/s")
    assert not any("aHVzaA==" in event.as_text() + event.as_json() for event in events)


async def test_an_insert_replaces_nothing(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    """As a real edge, which answers OK nevertheless."""
    cloud.send_object("update", "default/configmap/c", {"data": {"k": "old"}})
    cloud.send_object("insert", "default/configmap/c", {"data": {"k": "new"}})
    await cloud.message("response", "default/configmap/c", skip=1)
    assert edge.objects["default/configmap/c"] == {"data": {"k": "old"}}
    assert "kept" in [event.kind for event in events]
    cloud.send_object("update", "default/configmap/c", {"data": {"k": "new"}})
    await edge.wait_for("default/configmap/c", lambda found: found["data"] == {"k": "new"})


async def test_waiting_in_vain_says_what_is_there(cloud: Cloud, edge: HollowEdge) -> None:
    cloud.send_object("insert", "default/configmap/c", {"data": {}})
    await edge.wait_for("default/configmap/c")
    with pytest.raises(TimeoutError, match=r"default/pod/p1 .* connected and has \['default/conf"):
        await edge.wait_for("default/pod/p1", timeout=0.05)


def test_references() -> None:
    spec = {
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
        "containers": [
            {
                "envFrom": [{"configMapRef": {"name": "all"}}],
                "env": [
                    {"name": "A", "value": "plain"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "k"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "opt", "optional": True}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
            }
        ],
        "volumes": [
            {"emptyDir": {}},
            {"configMap": {"name": "one"}},
            {"projected": {"sources": [{"secret": {"name": "proj"}}, {"downwardAPI": {}}]}},
        ],
    }
    assert references(pod(**spec)) == [
        "default/configmap/one",
        "default/secret/proj",
        "default/secret/init",
        "default/configmap/all",
        "default/secret/pull",
    ]

"""Devices of a hollow edge of 1.23, compared with those of the recorded edge."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipc import Message
from modules.hollow import manifests
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from modules.hollow.manifests import PROPERTY
from modules.hollow.v1_23.devicetwin import DeviceTwin
from tests.modules.hollow.cloud import Cloud
from tests.modules.hollow.v1_23.api import TIMING

Json = dict[str, Any]

LED = "led-light-instance-01"
ID = f"default/{LED}"
DEVICE = f"default/device/{LED}"
MODEL = "default/devicemodel/led-light"
CAPTURE = Path(__file__).parents[3] / "data" / "captures" / "v1.23-edge.jsonl"


def recorded(source: str, resource: str, operation: str) -> Json:
    """Return the first such message of the recorded session."""
    for line in map(json.loads, CAPTURE.read_text().splitlines()):
        message: Json = line.get("message") or {}
        wanted = {"source": source, "resource": resource, "operation": operation}
        if message and message["route"] | wanted == message["route"]:
            return message
    raise AssertionError(f"no {operation} {resource} was recorded")


def form(value: Any) -> Any:
    """Return the keys in order, without the values."""
    return {key: form(inner) for key, inner in value.items()} if isinstance(value, dict) else None


def content_of(message: Message) -> Any:
    if isinstance(message.content, bytes | str):
        return json.loads(message.content)
    return message.content


def device(desired: str = "OFF", **spec: Any) -> Json:
    made = manifests.device_v1beta1(LED, "edge-1", desired, cycle=0.02)
    made["spec"] |= spec
    return made


def model(**properties: Any) -> Json:
    made = manifests.device_model_v1beta1()
    made["spec"]["properties"][0] |= properties
    return made


def send(cloud: Cloud, operation: str, resource: str, content: Any) -> Message:
    """Send an object as DeviceController does."""
    return cloud.send(Message.build("devicecontroller", "resource", operation, resource, content))


def give(cloud: Cloud, made: Json | None = None, its_model: Json | None = None) -> None:
    """Send a device with all that belongs to it."""
    cloud.send_twin("membership", recorded("devicecontroller", "membership", "update")["content"])
    send(cloud, "insert", MODEL, its_model or model())
    send(cloud, "insert", DEVICE, made or device())


async def reported(cloud: Cloud, value: str) -> Json:
    """Wait until the edge reports a value; return the property's twin."""
    resource = f"device/{ID}/twin/edge_updated"
    skip = 0
    while True:
        message = await cloud.message("update", resource, skip=skip)
        twin: Json = content_of(message)["twin"][PROPERTY]
        if twin["actual"]["value"] == value:
            return twin
        skip += 1


def twin_of(edge: HollowEdge) -> DeviceTwin:
    assert isinstance(edge.twin, DeviceTwin)
    return edge.twin


async def registered(edge: HollowEdge, *ids: str) -> None:
    """Wait until the mapper has these devices and no others."""
    await edge.wait_until(lambda: twin_of(edge).mapper.devices.keys() == set(ids), 20, f"{ids}")


async def test_acknowledgements_are_as_recorded(cloud: Cloud, edge: HollowEdge) -> None:
    for operation in ("insert", "update", "delete"):
        for resource, content in ((MODEL, model()), (DEVICE, device())):
            sent = send(cloud, operation, resource, content)
            answer = await cloud.message("response", resource, parent_id=sent.id)
            assert answer.content in {b"OK", "OK"}
            if operation == "insert":
                route = recorded("meta", resource, "response")["route"]
                assert (answer.source, answer.group) == (route["source"], route["group"])
            else:
                assert (answer.source, answer.group) == ("devicecontroller", "resource")


async def test_it_asks_for_its_devices_as_recorded(cloud: Cloud, edge: HollowEdge) -> None:
    question = await cloud.message("get", "membership/detail")
    theirs = recorded("twin", "membership/detail", "get")
    assert (question.source, question.group) == ("twin", theirs["route"]["group"])
    assert isinstance(theirs["content"], str)
    ours, go = content_of(question), json.loads(theirs["content"])
    assert json.dumps(form(ours)) == json.dumps(form(go))
    assert (ours["group_id"], ours["operation"]) == ("edge-1", "detail")


async def test_a_device_does_what_is_desired_and_reports_it(cloud: Cloud, edge: HollowEdge) -> None:
    give(cloud)
    twin = await reported(cloud, "OFF")
    assert twin["expected"]["value"] == "OFF"
    # Those recorded came from MQTT, without what is desired.
    resource = f"device/{ID}/twin/edge_updated"
    theirs = recorded("twin", resource, "update")["content"]["twin"][PROPERTY]
    without = {key: value for key, value in twin.items() if key in theirs}
    assert form(without) == form(theirs)
    assert (twin["optional"], twin["metadata"]) == (True, {"type": "string"})
    version = twin["actual_version"]["edge"]
    assert twin["expected_version"] == {"cloud": 0, "edge": version}
    send(cloud, "update", DEVICE, device("ON"))
    twin = await reported(cloud, "ON")
    assert twin["actual_version"]["edge"] > version
    assert twin["expected"]["value"] == "ON"


async def test_the_state_is_a_text_as_recorded(cloud: Cloud, edge: HollowEdge) -> None:
    give(cloud)
    resource = f"device/{ID}/state/update"
    message = await cloud.message("update", resource)
    theirs = recorded("twin", resource, "update")
    assert isinstance(theirs["content"], str)
    ours, go = content_of(message), json.loads(theirs["content"])
    assert json.dumps(form(ours)) == json.dumps(form(go))
    assert ours["device"]["name"] == LED
    assert ours["device"]["state"] == "online"
    assert len(ours["device"]["lastOnlineTime"]) == len(go["device"]["lastOnlineTime"])


async def test_without_its_model_a_device_is_not_registered(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    send(cloud, "insert", DEVICE, device())
    sent = send(cloud, "insert", MODEL, model())
    await cloud.message("response", MODEL, parent_id=sent.id)
    assert not twin_of(edge).mapper.devices
    assert "its model is not here" in [event.detail for event in events]
    # Nor by an update that changes nothing; an insert does.
    sent = send(cloud, "update", DEVICE, device())
    await cloud.message("response", DEVICE, parent_id=sent.id)
    assert not twin_of(edge).mapper.devices
    send(cloud, "insert", DEVICE, device())
    await registered(edge, ID)


async def test_a_mapper_is_found_by_the_protocol(cloud: Cloud, edge: HollowEdge) -> None:
    give(cloud)
    await registered(edge, ID)
    sent = send(cloud, "delete", DEVICE, {"metadata": {"name": LED, "namespace": "default"}})
    await cloud.message("response", DEVICE, parent_id=sent.id)
    assert edge.get(DEVICE) is None
    await registered(edge, ID)  # as in Go: nobody has told the mapper
    send(cloud, "delete", DEVICE, {"spec": {"protocol": {"protocolName": "modbus"}}})
    await registered(edge)


async def test_what_another_sender_deletes_stays_at_the_mapper(
    cloud: Cloud, edge: HollowEdge
) -> None:
    """The deletions of Go's synccontroller."""
    give(cloud)
    await registered(edge, ID)
    sent = cloud.send_object("delete", DEVICE, {"metadata": {"name": LED}})
    answer = await cloud.message("response", DEVICE, parent_id=sent.id)
    assert (answer.source, answer.group) == ("edgecontroller", "resource")
    assert edge.get(DEVICE) is None
    await registered(edge, ID)


async def test_only_devices_of_the_list_are_reported(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    give(cloud)
    await reported(cloud, "OFF")
    listed = {"devices": [{"id": "default/other", "name": "other"}]}
    cloud.send_twin("membership/detail", listed)
    await edge.wait_for("device/default/other")
    assert edge.devices.keys() == {"default/other"}
    since = len(events)
    await edge.wait_until(
        lambda: "not reported" in [e.kind for e in events[since:]], 20, "a report"
    )
    removed = {"removed_devices": [{"id": "default/other"}]}
    cloud.send_twin("membership", removed)
    await edge.wait_gone("device/default/other")


async def test_a_device_can_speak_for_itself(cloud: Cloud, edge: HollowEdge) -> None:
    edge.twin.follows = False
    give(cloud)
    await registered(edge, ID)
    edge.twin.report(ID, {PROPERTY: "BROKEN"})
    assert (await reported(cloud, "BROKEN"))["expected"]["value"] == "OFF"
    with pytest.raises(KeyError):
        edge.twin.report(ID, {"unknown": "1"})
    with pytest.raises(KeyError):
        edge.twin.report("default/unknown", {PROPERTY: "1"})


async def test_what_cannot_be_written_has_a_value_of_its_type(
    cloud: Cloud, edge: HollowEdge
) -> None:
    give(cloud, device("5"), model(type="INT", accessMode="ReadOnly"))
    assert (await reported(cloud, "0"))["expected"]["value"] == "5"


async def test_devices_survive_a_restart_but_not_the_loss_of_the_database(
    cloud: Cloud, edge: HollowEdge
) -> None:
    give(cloud)
    version = (await reported(cloud, "OFF"))["actual_version"]["edge"]
    await edge.restart()
    await registered(edge, ID)
    seen = len(cloud.messages)
    await cloud.wait(
        lambda: any(
            message.resource == f"device/{ID}/twin/edge_updated"
            and content_of(message)["twin"][PROPERTY]["actual_version"]["edge"] > version
            for message in cloud.messages[seen:]
        )
    )
    await edge.restart(lose_database=True)
    await registered(edge)
    assert not edge.devices


async def test_unconfirmed_messages_are_sent_again_until_confirmed(cloud: Cloud) -> None:
    timing = replace(TIMING, confirm=0.05)
    async with HollowEdge("edge-1", cloud.url, timing=timing) as edge:
        first = await cloud.message("get", "membership/detail")
        assert await cloud.message("get", "membership/detail", skip=1) == first
        confirmation = Message.build(
            "devicecontroller", "twin", "response", "twin", "OK", parent_id=first.id
        )
        cloud.send(confirmation)
        await edge.wait_until(lambda: not len(edge.twin.confirmations), 20, "the confirmation")


async def test_odd_messages_are_events_not_faults(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    cloud.send_twin("membership", b"{")
    cloud.send_twin("membership", {"added_devices": [{"name": "no id"}]})
    cloud.send_twin(f"device/{ID}/twin/cloud_updated", {"twin": {}})
    cloud.send(Message.build("somebody", "twin", "update", "membership", {}))
    send(cloud, "insert", "default/else/x", {})
    send(cloud, "insert", MODEL, {"spec": 5})
    send(cloud, "insert", DEVICE, device(properties=5))
    send(cloud, "insert", MODEL, model())
    send(cloud, "insert", DEVICE, device(properties=5))
    give(cloud)
    await registered(edge, ID)
    kinds = [event.kind for event in events]
    assert kinds.count("unreadable") == 4
    assert kinds.count("ignored") == 3

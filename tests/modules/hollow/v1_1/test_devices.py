"""Devices and twins of a hollow edge of 1.1, compared with those of the recorded edge."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ipc import Message
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from tests.modules.hollow.cloud import QUICK, Cloud, captured

LED = "led-light-instance-01"


def recorded(resource: str, direction: str) -> list[dict[str, Any]]:
    """Return the contents of the recorded messages about a resource, in order."""
    messages = [
        line["message"] for line in captured() if line["dir"] == direction and "message" in line
    ]
    return [json.loads(m["content"]) for m in messages if m["route"]["resource"] == resource]


ADDED, REMOVED = recorded("membership", "cloud->edge")
STATE = recorded(f"device/{LED}/state", "edge->cloud")[0]
EDGE_UPDATED = recorded(f"device/{LED}/twin/edge_updated", "edge->cloud")[0]
CLOUD_UPDATED = recorded(f"device/{LED}/twin/cloud_updated", "cloud->edge")


def form(value: Any) -> Any:
    """Return the keys in order, without the values."""
    return {key: form(inner) for key, inner in value.items()} if isinstance(value, dict) else None


async def test_a_device_comes_online_and_does_what_its_twin_says(
    cloud: Cloud, edge: HollowEdge
) -> None:
    cloud.send_twin("membership", ADDED)
    device = await edge.wait_for(f"device/{LED}")
    assert device["twin"]["power-status"]["expected"]["value"] == "OFF"
    state = await cloud.message("update", f"device/{LED}/state")
    assert (state.source, state.group) == ("twin", "resource")
    assert json.dumps(form(json.loads(state.content))) == json.dumps(form(STATE))
    update = await cloud.message("update", f"device/{LED}/twin/edge_updated")
    content = json.loads(update.content)
    assert json.dumps(form(content)) == json.dumps(form(EDGE_UPDATED))
    twin = content["twin"]["power-status"]
    assert twin["actual"]["value"] == "OFF"
    assert twin["actual_version"] == {"cloud": 0, "edge": 1}
    assert twin["metadata"] == {"type": "string"}


async def test_a_changed_twin_is_followed_and_an_echo_is_not(
    cloud: Cloud, edge: HollowEdge
) -> None:
    cloud.send_twin("membership", ADDED)
    await cloud.message("update", f"device/{LED}/twin/edge_updated")
    for content in CLOUD_UPDATED:  # the first repeats OFF, the second says ON
        cloud.send_twin(f"device/{LED}/twin/cloud_updated", content)
    update = await cloud.message("update", f"device/{LED}/twin/edge_updated", skip=1)
    twin = json.loads(update.content)["twin"]["power-status"]
    assert twin["actual"]["value"] == "ON"
    assert twin["actual_version"] == {"cloud": 0, "edge": 2}
    assert edge.devices[LED]["twin"]["power-status"]["expected_version"]["cloud"] == 225


async def test_what_is_older_is_refused_and_answered_with_what_is_here(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    edge.twin.follows = False
    cloud.send_twin("membership", ADDED)
    old = json.loads(json.dumps(CLOUD_UPDATED[1]))
    old["twin"]["power-status"]["expected_version"]["cloud"] = 220
    cloud.send_twin(f"device/{LED}/twin/cloud_updated", old)
    refusal = await cloud.message("update", f"device/{LED}/twin/edge_updated")
    twin = json.loads(refusal.content)["twin"]["power-status"]
    assert twin["expected"]["value"] == "OFF"
    assert twin["expected_version"] == {"cloud": 221, "edge": 0}
    assert edge.devices[LED]["twin"]["power-status"]["expected"]["value"] == "OFF"
    assert "refused twin" in [event.kind for event in events]


async def test_a_twin_of_type_deleted_goes(cloud: Cloud, edge: HollowEdge) -> None:
    cloud.send_twin("membership", ADDED)
    gone = json.loads(json.dumps(CLOUD_UPDATED[1]))
    gone["twin"]["power-status"]["metadata"]["type"] = "deleted"
    cloud.send_twin(f"device/{LED}/twin/cloud_updated", gone)
    await edge.wait_for(f"device/{LED}", lambda device: device["twin"] == {})


async def test_removed_devices_go(cloud: Cloud, edge: HollowEdge) -> None:
    cloud.send_twin("membership", ADDED)
    await edge.wait_for(f"device/{LED}")
    cloud.send_twin("membership", REMOVED)
    await edge.wait_gone(f"device/{LED}")


async def test_the_detail_is_the_whole_truth(cloud: Cloud, edge: HollowEdge) -> None:
    question = await cloud.message("get", "membership/detail")
    cloud.send_twin("membership", ADDED)
    await edge.wait_for(f"device/{LED}")
    detail = {"event_id": "", "timestamp": 1, "devices": [{"id": "other", "twin": None}]}
    answer = question.response(detail, source="devicecontroller", group="twin")
    cloud.send(answer)
    await edge.wait_for("device/other")
    assert edge.devices.keys() == {"other"}


async def test_a_device_can_speak_for_itself(cloud: Cloud, edge: HollowEdge) -> None:
    edge.twin.follows = False
    cloud.send_twin("membership", ADDED)
    await edge.wait_for(f"device/{LED}")
    edge.twin.report(LED, {"power-status": "BROKEN"})
    update = await cloud.message("update", f"device/{LED}/twin/edge_updated")
    assert json.loads(update.content)["twin"]["power-status"]["actual"]["value"] == "BROKEN"


async def test_unconfirmed_messages_are_sent_again_until_confirmed(cloud: Cloud) -> None:
    timing = replace(QUICK, confirm=0.05)
    async with HollowEdge("edge-1", cloud.url, kubeedge="1.1", timing=timing) as edge:
        await edge.wait_connected()
        first = await cloud.message("get", "membership/detail")
        again = await cloud.message("get", "membership/detail", skip=1)
        assert again == first
        cloud.send(
            Message.build("devicecontroller", "twin", "response", "twin", "OK", parent_id=first.id)
        )
        await edge.wait_until(lambda: not len(edge.twin.confirmations), 20, "the confirmation")


async def test_odd_messages_are_events_not_faults(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    cloud.send_twin("membership", b"{")
    cloud.send_twin(f"device/{LED}/twin/cloud_updated", CLOUD_UPDATED[0])
    cloud.send_twin(f"device/{LED}/else", {})
    cloud.send_twin("membership", {"added_devices": [{"name": "no id"}]})
    cloud.send(Message.build("somebody", "twin", "update", "membership", ADDED))
    cloud.send_twin("membership", ADDED)
    await edge.wait_for(f"device/{LED}")
    kinds = [event.kind for event in events]
    assert kinds.count("unreadable") == 2
    assert kinds.count("ignored") == 3

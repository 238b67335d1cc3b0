"""What an edge does with pushes and answers, and how its link behaves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from picows import WSMsgType

from ipc import Message
from modules.hollow.edge import HollowEdge
from modules.hollow.events import Event
from tests.modules.hollow.cloud import Cloud
from tests.modules.hollow.v1_23.api import TIMING, Api, pod

CONFIGMAP = "default/configmap/c"


async def test_each_message_is_one_text_of_json(cloud: Cloud, edge: HollowEdge) -> None:
    await cloud.message("keepalive", "node")
    document = json.loads(cloud.frames[0])
    assert document["route"] == {
        "source": "websocket", "group": "resource", "operation": "keepalive", "resource": "node",
    }  # fmt: skip
    assert document["content"] == "ping"
    assert cloud.frames[0].endswith(b"\n")
    membership = await cloud.message("get", "membership/detail")
    assert isinstance(membership.content, str)


async def test_pushes_are_stored_and_acknowledged(cloud: Cloud, api: Api, edge: HollowEdge) -> None:
    for operation in ("insert", "update", "insert"):
        value = {"metadata": {"name": "c"}, "data": {"k": operation}}
        pushed = api.push(operation, CONFIGMAP, value)
        answer = await cloud.message("response", CONFIGMAP, parent_id=pushed.id)
        assert answer.content == "OK"
        assert (answer.source, answer.group) == ("edgecontroller", "resource")
        assert edge.objects[CONFIGMAP] == api.objects[CONFIGMAP]
    pushed = api.push("delete", CONFIGMAP)
    await cloud.message("response", CONFIGMAP, parent_id=pushed.id)
    assert CONFIGMAP not in edge.objects


async def test_a_pod_of_another_uid_stays_and_the_delete_is_acknowledged(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    api.push("insert", "default/pod/p1", pod(uid="new"))
    await edge.wait_for("default/pod/p1")
    pushed = cloud.send_object("delete", "default/pod/p1", pod(uid="old"))
    await cloud.message("response", "default/pod/p1", parent_id=pushed.id)
    assert edge.pods.keys() == {"default/p1"}


async def test_what_answers_nothing_is_dropped(
    cloud: Cloud, edge: HollowEdge, events: list[Event]
) -> None:
    stray = Message.build(
        "edgecontroller", "resource", "update", CONFIGMAP, {"metadata": {}}, parent_id="nobody"
    )
    cloud.send(stray)
    await edge.wait_until(lambda: any(e.kind == "unasked" for e in events), 20, "the event")
    assert CONFIGMAP not in edge.objects


async def test_an_update_of_a_stranger_is_stored_and_not_acknowledged(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    stranger = cloud.send(Message.build("somebody", "resource", "update", CONFIGMAP, {"data": {}}))
    known = api.push("update", CONFIGMAP, {"metadata": {"name": "c"}})
    await cloud.message("response", CONFIGMAP, parent_id=known.id)
    assert not [message for message in cloud.messages if message.parent_id == stranger.id]


async def test_what_is_stored_survives_connections_and_restarts(
    cloud: Cloud, api: Api, edge: HollowEdge
) -> None:
    api.push("update", CONFIGMAP, {"metadata": {"name": "c"}})
    await edge.wait_for(CONFIGMAP)
    edge.link.drop()
    await edge.wait_until(lambda: edge.link.connects == 2, 20, "the second connection")
    assert CONFIGMAP in edge.objects
    await edge.restart()
    assert CONFIGMAP in edge.objects
    await edge.restart(lose_database=True)
    assert CONFIGMAP not in edge.objects


async def test_more_than_the_burst_waits_for_its_turn(cloud: Cloud, api: Api) -> None:
    api.silent = {"node", "lease"}
    timing = replace(TIMING, message_rate=50.0, message_burst=10, heartbeat=30)
    async with HollowEdge("edge-1", cloud.url, kubeedge="1.23", timing=timing) as edge:
        await edge.wait_connected()
        began = asyncio.get_running_loop().time()
        for number in range(30):
            edge.link.send(Message.build("edged", "meta", "insert", f"default/event/{number}"))
        await cloud.message("insert", "default/event/29")
        assert asyncio.get_running_loop().time() - began >= 20 / 50 - 0.1
    sent = [m.resource for m in cloud.messages if "/event/" in m.resource]
    assert sent == [f"default/event/{number}" for number in range(30)]


async def test_frames_are_text(cloud: Cloud, edge: HollowEdge) -> None:
    assert cloud.form.frame == WSMsgType.TEXT

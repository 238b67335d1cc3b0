"""What a node is to have again as it was before it has acknowledged a deletion or a change."""

from __future__ import annotations

import ipc
from modules.common.kube import DEVICEMODELS_V1BETA1, DEVICES_V1BETA1
from modules.common.sync import window
from modules.common.wire.generations import V1_23
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import (
    DEVICE,
    ID,
    MODEL,
    NODE,
    Edge,
    device,
    make_device,
    make_model,
    model,
    moves,
)
from tests.modules.devicecontroller.controller import Controller, running


async def has_device(api: Api, controller: Controller) -> Edge:
    edge = Edge(controller)
    await make_model(api)
    await make_device(api)
    await edge.connect()
    await edge.takes_device()
    return edge


async def leaves(edge: Edge) -> ipc.Message:
    """Be told that the device is gone, and acknowledge nothing; return its deletion."""
    removed = await edge.said("update", "membership")
    assert [each["id"] for each in removed.content["removed_devices"]] == [ID]
    await edge.said("delete", MODEL)
    return await edge.said("delete", DEVICE)


async def test_what_comes_back_while_its_deletion_is_in_flight_is_sent_as_new(
    api: Api, controller: Controller
) -> None:
    edge = await has_device(api, controller)
    await moves(api, "other")
    await leaves(edge)
    await moves(api, NODE)
    await edge.takes_device()


async def test_what_leaves_again_when_its_first_deletion_was_acknowledged_leaves_the_list(
    api: Api, controller: Controller
) -> None:
    edge = await has_device(api, controller)
    await moves(api, "other")
    deletion = await leaves(edge)
    await moves(api, NODE)
    await edge.said("update", "membership")
    await edge.said("insert", MODEL)  # for which the device waits
    await edge.acknowledge(deletion)
    await moves(api, "other")
    removed = await edge.said("update", "membership")
    assert [each["id"] for each in removed.content["removed_devices"]] == [ID]


async def test_what_has_come_back_during_a_crash_is_sent_as_new(api: Api) -> None:
    async with running(api.settings) as controller:
        edge = await has_device(api, controller)
        await moves(api, "other")
        await leaves(edge)
    await moves(api, NODE)
    async with running(api.settings) as controller:
        controller.edges[NODE] = V1_23  # connected all the time
        await Edge(controller).takes_device()


async def test_a_device_that_leaves_while_it_waits_for_room_leaves_the_list(
    api: Api, controller: Controller
) -> None:
    edge = Edge(controller)
    names = [f"device-{number:03}" for number in range(window.WINDOW + 1)]
    await api.make_node(NODE)
    await edge.connect()
    for name in names:
        await api.client.create(DEVICES_V1BETA1, device(name, deviceModelRef=None), "default")
    added: set[str] = set()
    sent = []
    while len(added) < len(names) or len(sent) < window.WINDOW:
        message = await controller.said()
        if message.operation == "update":
            added |= {each["id"] for each in message.content["added_devices"]}
        else:
            sent.append(message)
    waiting = (set(names) - {each.resource.rpartition("/")[2] for each in sent}).pop()
    await api.client.delete(DEVICES_V1BETA1, waiting, "default")
    removed = await edge.said("update", "membership")
    assert [each["id"] for each in removed.content["removed_devices"]] == [f"default/{waiting}"]


async def set_protocol(api: Api, protocol: str) -> None:
    """Change the model, of which the node has another state then."""
    patch = {"spec": {"protocol": protocol}}
    await api.client.patch(DEVICEMODELS_V1BETA1, "led-light", patch, "default")


async def test_what_changes_back_while_the_change_is_in_flight_is_sent_again(
    api: Api, controller: Controller
) -> None:
    """The edge stores the change, of which it has the state before by the last acknowledgement."""
    edge = await has_device(api, controller)
    before = model()["spec"]["protocol"]
    await set_protocol(api, "opcua")
    late = await edge.said("update", MODEL)
    await set_protocol(api, before)
    again = await edge.said("update", MODEL)
    assert again.content["spec"]["protocol"] == before
    await edge.acknowledge(late)
    await edge.acknowledge(again)
    await make_device(api, device("marker"))
    await edge.takes_device("marker", with_model=False)


async def test_what_has_changed_back_during_a_crash_is_sent_again(api: Api) -> None:
    before = model()["spec"]["protocol"]
    async with running(api.settings) as controller:
        edge = await has_device(api, controller)
        await set_protocol(api, "opcua")
        await edge.said("update", MODEL)
    await set_protocol(api, before)
    async with running(api.settings) as controller:
        controller.edges[NODE] = V1_23  # connected all the time
        again = await Edge(controller).takes("update", MODEL)
        assert again.content["spec"]["protocol"] == before

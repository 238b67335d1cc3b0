"""Devices of v1beta1 with whole edges of KubeEdge 1.15 to 1.23, field by field.

Real processes: what the edge's mapper is told, what it reports, and what DeviceStatus says.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from ipc import Message
from modules.common.kube import (
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    NODES,
    KubeClient,
    number_of,
)
from modules.devicecontroller.controller import DELIVERED
from modules.hollow.demo import observe
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.edge import HollowEdge
from modules.hollow.timing import Timing
from modules.hollow.v1_23.devicetwin import DeviceTwin
from modules.hollow.v1_23.join import CertManager
from tests.support.waiting import until

from .lamps import DEVICE, HEAT, MODEL, POWER

Json = dict[str, Any]

TIMING = Timing(heartbeat=0.5, node_status=0.5, lease=0.5, query=3, device=0.05)
OBJECTS = ("default/devicemodel/lamps", "default/device/lamp")
#: Edges of 1.15 know a device by its name alone, and those up to 1.17 report no state.
FLEETS = ({"edge-1": "1.23", "edge-2": "1.19"}, {"edge-1": "1.15", "edge-2": "1.17"})


class Story:
    """Two edges of today, and their cloud."""

    def __init__(self, cloudcore: Cloudcore, api: KubeClient, edges: dict[str, HollowEdge]) -> None:
        self.cloudcore = cloudcore
        self.api = api
        self.one, self.two = edges.values()

    async def device_is_created(self) -> None:
        model = await self.api.create(DEVICEMODELS_V1BETA1, MODEL, "default")
        device = await self.api.create(DEVICES_V1BETA1, DEVICE, "default")
        assert device["spec"] == DEVICE["spec"]
        assert model["spec"] == MODEL["spec"]
        await self.is_registered(self.one)
        # In this order: without the model, the edge would not have registered the device.
        membership, its_model, its_device = told(self.one)
        assert route(membership) == ("twin", "update", "membership", "")
        assert membership.content.keys() == {
            *("event_id", "timestamp", "added_devices", "removed_devices"),
        }
        described = {"id": id_at(self.one), "name": "lamp", "description": "a-lamp"}
        assert membership.content["added_devices"] == [described]
        assert membership.content["removed_devices"] is None
        for message, obj in ((its_model, model), (its_device, device)):
            kind = obj["kind"].lower()
            resource = f"default/{kind}/{obj['metadata']['name']}"
            assert route(message)[:3] == ("resource", "insert", resource)
            stored = self.one.get(resource)
            assert message.resource_version == stored["metadata"]["resourceVersion"]
            assert stored["spec"] == obj["spec"]
            assert stored["metadata"]["uid"] == obj["metadata"]["uid"]
            assert (stored["kind"], stored["apiVersion"]) == (obj["kind"], obj["apiVersion"])
        assert self.one.get("default/device/lamp")["status"]["reportToCloud"] is True

    async def it_reports(self, edge: HollowEdge, power: str) -> Json:
        """Wait until DeviceStatus has what the device is, and everything is confirmed."""
        before, has_state = reports(edge), edge.version.reports_states
        await edge.wait_until(lambda: reports(edge) > before, 10, "another report")

        def says(status: Any) -> bool:
            twins = {twin["propertyName"]: twin for twin in status["status"]["twins"]}
            return bool(
                twins.keys() == {"power", "heat"}
                and twins["power"]["reported"]["value"] == power
                and status["status"].get("state") == ("online" if has_state else None)
            )

        await observe.in_api(self.api, DEVICESTATUSES, "lamp", "default", says)
        status: Json = await self.api.get(DEVICESTATUSES, "lamp", "default")
        twins = {twin["propertyName"]: twin for twin in status["status"]["twins"]}
        reported = twins["power"]["reported"]
        assert reported["metadata"].keys() == {"timestamp", "type"}
        assert isinstance(reported["metadata"]["timestamp"], str)
        assert reported["metadata"]["type"] == "string"
        assert twins["power"]["observedDesired"]["value"] == power
        assert twins["heat"]["reported"]["value"] == "0"
        if has_state:
            assert status["status"]["lastOnlineTime"].endswith("Z")
        assert status["metadata"]["ownerReferences"][0]["kind"] == "Device"
        await edge.wait_until(
            lambda: len(edge.twin.confirmations) <= 3, 10, "the confirmation of all but the last"
        )
        return status

    async def desired_value_changes(self, edge: HollowEdge, value: str) -> None:
        properties = [POWER | {"desired": {"value": value}}, HEAT]
        await self.change(DEVICES_V1BETA1, "lamp", {"properties": properties})
        await edge.wait_until(
            lambda: twin_of(edge).mapper.values[id_at(edge)]["power"] == value, 15, value
        )

    async def model_changes(self) -> None:
        """Tell the edge of a change of the model alone, which Go does not."""
        forget_messages(self.one)
        properties = [MODEL["spec"]["properties"][0], {"name": "heat", "type": "INT", "unit": "F"}]
        await self.change(DEVICEMODELS_V1BETA1, "lamps", {"properties": properties})
        await self.one.wait_for(
            "default/devicemodel/lamps",
            lambda model: model["spec"]["properties"][1]["unit"] == "F",
            15,
        )
        assert [route(message)[1:3] for message in told(self.one)] == [
            ("update", "default/devicemodel/lamps")
        ]

    async def controller_is_killed(self, edge: HollowEdge) -> None:
        """Change a desired value while no DeviceController runs; nothing else is told again."""
        await until(lambda: all(self.is_recorded(edge, key) for key in OBJECTS))
        forget_messages(edge)
        pid = (await self.cloudcore.module("devicecontroller"))["pid"]
        os.kill(pid, signal.SIGKILL)
        await self.desired_value_changes(edge, "DIM")
        await self.cloudcore.wait_restarted("devicecontroller", pid, 30)
        await self.it_reports(edge, "DIM")
        assert [route(message)[1:3] for message in told(edge)] == [
            ("update", "default/device/lamp")
        ]

    async def device_moves(self) -> None:
        for edge in (self.one, self.two):
            forget_messages(edge)
        await self.change(DEVICES_V1BETA1, "lamp", {"nodeName": "edge-2"})
        await self.is_registered(self.two)
        await self.is_gone(self.one)
        membership, *deletes = told(self.one)
        assert [each["id"] for each in membership.content["removed_devices"]] == [id_at(self.one)]
        assert membership.content["added_devices"] is None
        assert {route(message)[1:3] for message in deletes} == {
            ("delete", "default/devicemodel/lamps"),
            ("delete", "default/device/lamp"),
        }
        assert [route(message)[1:3] for message in told(self.two)] == [
            ("update", "membership"),
            ("insert", "default/devicemodel/lamps"),
            ("insert", "default/device/lamp"),
        ]

    async def database_is_lost(self) -> None:
        await self.two.restart(lose_database=True)
        await self.is_registered(self.two)

    async def device_is_deleted(self) -> None:
        await self.api.delete(DEVICES_V1BETA1, "lamp", "default")
        await self.is_gone(self.two)
        await observe.gone_from_api(self.api, DEVICESTATUSES, "lamp", "default")

    def is_recorded(self, edge: HollowEdge, key: str) -> bool:
        """Whether the file has it that an object is acknowledged: it is written once a second."""
        record = self.cloudcore.settings.data_dir / "devicecontroller" / DELIVERED
        rows = [json.loads(line) for line in record.read_text().splitlines()]
        namespace, type_, name = key.split("/")
        seen = [row[5] for row in rows if row[1:4] == [type_, namespace, name]][-1]
        version = edge.get(key)["metadata"]["resourceVersion"]
        return number_of(seen.rpartition("@")[2]) >= int(version)  # our condition is a newer one

    async def change(self, resource: Any, name: str, spec: Json) -> None:
        await self.api.patch(resource, name, {"spec": spec}, "default")

    async def is_registered(self, edge: HollowEdge) -> None:
        await edge.wait_until(
            lambda: (
                list(edge.devices) == [id_at(edge)]
                and list(twin_of(edge).mapper.devices) == [id_at(edge)]
            ),
            30,
            "the device at the mapper",
        )

    async def is_gone(self, edge: HollowEdge) -> None:
        await edge.wait_until(
            lambda: (
                not edge.devices
                and not twin_of(edge).mapper.devices
                and edge.get("default/device/lamp") is None
                and edge.get("default/devicemodel/lamps") is None
            ),
            15,
            "no device and no model",
        )


def id_at(edge: HollowEdge) -> str:
    """Return the id of the device at an edge."""
    return "default/lamp" if edge.version.devices_have_namespaces else "lamp"


def reports(edge: HollowEdge) -> int:
    """Return how often an edge has reported the device's power since it has it."""
    twin = edge.devices[id_at(edge)]["twin"].get("power", {})
    return int(twin.get("actual_version", {"edge": 0})["edge"])


def told(edge: HollowEdge) -> list[Message]:
    """Return what an edge was sent of devices, without confirmations and whole lists."""
    return [
        message
        for message in edge.received
        if message.source == "devicecontroller"
        and not message.parent_id
        and message.resource != "membership/detail"
    ]


def forget_messages(edge: HollowEdge) -> None:
    edge.received.clear()


def route(message: Message) -> tuple[str, str, str, str]:
    return message.group, message.operation, message.resource, message.resource_version


def twin_of(edge: HollowEdge) -> DeviceTwin:
    assert isinstance(edge.twin, DeviceTwin)
    return edge.twin


@asynccontextmanager
async def story(fleet: dict[str, str]) -> AsyncIterator[Story]:
    async with AsyncExitStack() as stack:
        cloudcore = await stack.enter_async_context(running())
        await cloudcore.wait_ready(30)
        url, https = await cloudcore.websocket_url(), await cloudcore.https_url()
        client = KubeClient.connect(cloudcore.settings, user_agent="test")
        api = await stack.enter_async_context(client)
        edges = {}
        for node, version in fleet.items():
            certificates = await CertManager.join(node, https, await cloudcore.token())
            edge = HollowEdge(
                node, url, certificates, kubeedge=version, timing=replace(TIMING, confirm=1)
            )
            edges[node] = await stack.enter_async_context(edge)
        for edge in edges.values():  # an edge of 1.19 is sent everything when it registers
            await edge.wait_connected(15)
            await observe.in_api(api, NODES, edge.node, None, has_reported_version)
        yield Story(cloudcore, api, edges)


def has_reported_version(node: Any) -> bool:
    return bool(node["status"]["nodeInfo"]["kubeletVersion"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fleet", FLEETS, ids=lambda fleet: "-".join(fleet.values()))
async def test_a_device_from_its_creation_to_its_end(fleet: dict[str, str]) -> None:
    async with story(fleet) as found:
        await found.device_is_created()
        await found.it_reports(found.one, "ON")
        await found.desired_value_changes(found.one, "OFF")
        await found.it_reports(found.one, "OFF")
        await found.model_changes()
        await found.controller_is_killed(found.one)
        await found.device_moves()
        await found.it_reports(found.two, "DIM")
        await found.database_is_lost()
        await found.it_reports(found.two, "DIM")
        await found.device_is_deleted()
        await found.cloudcore.stop(15)

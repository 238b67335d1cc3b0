"""Devices of v1beta1 at edges of KubeEdge 1.15 to 1.18, and at those that do not know them.

Until 1.15 an edge knows a device by its name, without the namespace.
"""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import DEVICES_V1BETA1, DEVICESTATUSES, NODES
from modules.common.kube.kinds import NAMESPACES
from modules.hollow.versions import VERSIONS
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import (
    DEVICE,
    LED,
    MODEL,
    NODE,
    Edge,
    device,
    make_device,
    make_model,
    model,
    twin_update,
)
from tests.modules.devicecontroller.controller import Controller, running

QUESTION = "membership/detail"


async def report_version(api: Api, kubelet: str) -> None:
    """Have the Node say what version its edge is."""
    await api.make_node(NODE)
    status = {"status": {"nodeInfo": {"kubeletVersion": kubelet}}}
    await api.client.patch(NODES, NODE, status, subresource="status")


async def make_elsewhere(api: Api) -> None:
    """Create a device of the same name in another namespace."""
    await api.client.create(NAMESPACES, {"metadata": {"name": "other"}})
    await api.client.create(DEVICES_V1BETA1, device(deviceModelRef=None), "other")


async def condition(api: Api, reason: str, namespace: str = "default") -> str:
    """Wait until the device's condition has a reason; return its message."""

    def of(obj: Any) -> list[Any]:
        conditions: list[Any] = (obj or {}).get("status", {}).get("conditions", [])
        return [each for each in conditions if each["reason"] == reason]

    found = await api.until(DEVICES_V1BETA1, LED, namespace, lambda obj: bool(of(obj)))
    text: str = of(found)[0]["message"]
    return text


async def ask(edge: Edge) -> list[dict[str, Any]]:
    """Ask for the list of devices, and return it."""
    asked = await edge.controller.hear(edge.node, QUESTION, '{"event_id": "e"}', "get")
    answer = await edge.said("response", "twin")
    assert (answer.parent_id, answer.content) == (asked.id, "OK")
    listed = await edge.said("update", QUESTION)
    assert (listed.group, listed.parent_id) == ("twin", "")
    devices: list[dict[str, Any]] = listed.content["devices"]
    return devices


@pytest.mark.parametrize(
    ("version", "device_id"),
    [("1.15", LED), ("1.16", f"default/{LED}"), ("1.17", f"default/{LED}")],
)
async def test_a_device_from_its_creation_to_its_end(
    api: Api, version: str, device_id: str
) -> None:
    await report_version(api, VERSIONS[version].kubelet)
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        made_model, made = await make_model(api), await make_device(api)
        listed = {"id": device_id, "name": LED, "description": "LEDLight"}

        membership = await edge.said("update", "membership")
        assert (membership.source, membership.group) == ("devicecontroller", "twin")
        assert membership.content["added_devices"] == [listed]
        assert membership.content["removed_devices"] is None
        # The objects have the namespace in all versions.
        assert (await edge.takes("insert", MODEL)).content["spec"] == made_model["spec"]
        assert (await edge.takes("insert", DEVICE)).content["spec"] == made["spec"]
        assert await ask(edge) == [listed]

        await edge.reports(f"device/{device_id}/twin/edge_updated", twin_update(power_status="ON"))
        found = await api.until(
            DEVICESTATUSES, LED, "default", lambda obj: bool(obj and obj["status"].get("twins"))
        )
        assert found
        (twin,) = found["status"]["twins"]
        assert (twin["propertyName"], twin["reported"]["value"]) == ("power-status", "ON")
        assert "state" not in found["status"]

        await api.client.delete(DEVICES_V1BETA1, LED, "default")
        membership = await edge.said("update", "membership")
        assert membership.content["removed_devices"] == [listed]
        assert (await edge.said("delete", MODEL)).content["metadata"]["name"] == "led-light"
        assert (await edge.said("delete", DEVICE)).content["metadata"]["name"] == LED


async def test_an_edge_that_becomes_another_version(api: Api, controller: Controller) -> None:
    """Its list has the other form of ids; its objects stay."""
    edge = Edge(controller)
    await make_model(api)
    await make_device(api)
    await edge.connect()
    await edge.takes_device()  # with its namespace, as long as no version is known
    for version, device_id in (("1.15", LED), ("1.16", f"default/{LED}")):
        await report_version(api, VERSIONS[version].kubelet)
        listed = await edge.said("update", QUESTION)
        assert [each["id"] for each in listed.content["devices"]] == [device_id]


async def test_two_devices_of_one_name(api: Api) -> None:
    """An edge of 1.15 has the older one; the other one follows when that is gone."""
    await report_version(api, VERSIONS["1.15"].kubelet)
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        await make_model(api)
        await make_device(api)
        assert (await edge.said("update", "membership")).content["added_devices"][0]["id"] == LED
        await edge.takes("insert", MODEL)
        await edge.takes("insert", DEVICE)
        await make_elsewhere(api)
        text = await condition(api, "NameTaken", "other")
        assert f"already has the device default/{LED}" in text
        assert [each["id"] for each in await ask(edge)] == [LED]
        await edge.reports(f"device/{LED}/twin/edge_updated", twin_update(power_status="ON"))
        assert await api.until(
            DEVICESTATUSES, LED, "default", lambda obj: bool(obj and obj["status"].get("twins"))
        )

        await api.client.delete(DEVICES_V1BETA1, LED, "default")
        membership = await edge.said("update", "membership")
        assert [each["id"] for each in membership.content["added_devices"]] == [LED]
        assert membership.content["removed_devices"] is None  # it would remove the other one
        said = [await controller.said() for _ in range(3)]
        for message in said:
            await edge.acknowledge(message)
        assert {(each.operation, each.resource.split("/", 2)[2]) for each in said} == {
            ("delete", MODEL),
            ("delete", DEVICE),
            ("insert", f"other/device/{LED}"),
        }
        await condition(api, "NoModel", "other")


async def test_names_are_no_matter_from_1_16_on(api: Api) -> None:
    await report_version(api, VERSIONS["1.16"].kubelet)
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        await make_device(api, device(deviceModelRef=None))
        await make_elsewhere(api)
        for namespace in ("default", "other"):
            membership = await edge.said("update", "membership")
            assert membership.content["added_devices"][0]["id"] == f"{namespace}/{LED}"
            await edge.takes("insert", f"{namespace}/device/{LED}")


@pytest.mark.parametrize("version", ["1.2", "1.14"])
async def test_edges_that_know_other_devices(api: Api, version: str) -> None:
    """They are told of none, and are not made to remove what another cloud has told them."""
    await report_version(api, f"v1.22.0-kubeedge-v{version}.0")
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        await make_model(api, model())
        await make_device(api)
        text = await condition(api, "OtherVersion")
        assert f"is of KubeEdge {version} and knows no devices of v1beta1" in text
        asked = await controller.hear(NODE, QUESTION, '{"event_id": "e"}', "get")
        assert (await edge.said("response", "twin")).parent_id == asked.id
        await report_version(api, VERSIONS["1.16"].kubelet)  # it is upgraded
        assert (await edge.said("update", QUESTION)).content["devices"][0]["name"] == LED
        await edge.takes("insert", MODEL)
        await edge.takes("insert", DEVICE)
        await condition(api, "Accepted")

"""What a replica keeps of devices of v1beta1 suffices for all that it sends and writes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    KubeClient,
    Object,
    Resource,
)
from modules.common.sync import takeovers
from modules.devicecontroller.v1beta1.devices import Devices
from tests.modules.devicecontroller import beta
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import (
    DEVICE,
    LED,
    MODEL,
    NODE,
    Edge,
    make_device,
    make_model,
    moves,
)
from tests.modules.devicecontroller.replicas import has_device, replica, two_replicas

EDGE_UPDATED = f"device/{beta.ID}/twin/edge_updated"

pytestmark = pytest.mark.usefixtures("object_syncs_soon")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices that were read one by one."""
    found: list[str] = []
    get = KubeClient.get

    async def noted(
        client: KubeClient, resource: Resource, name: str, namespace: str | None = None
    ) -> Object:
        if resource is DEVICES_V1BETA1:
            found.append(name)
        return await get(client, resource, name, namespace)

    monkeypatch.setattr(KubeClient, "get", noted)
    return found


async def twins_of(api: Api, resource: Resource, **values: str) -> None:
    """Wait until the reported values of a device are these."""

    def has(obj: Object | None) -> bool:
        twins = ((obj or {}).get("status") or {}).get("twins") or []
        reported = {each["propertyName"]: each["reported"]["value"] for each in twins}
        return reported == values

    await api.until(resource, LED, "default", has)


async def test_what_a_node_has_is_not_read_when_it_comes_nor_when_it_reports(
    api: Api, reads: list[str]
) -> None:
    async with two_replicas(api) as (a, b):
        edge, _ = await has_device(api, a)
        await edge.disconnect()
        moved = Edge(b)
        await moved.connect()
        await b.hear(moved.node, "membership/detail", b"{}", "get")
        await moved.said("response", "twin")
        (listed,) = (await moved.said("update", "membership/detail")).content["devices"]
        assert listed == {"id": beta.ID, "name": LED, "description": "LEDLight"}
        await moved.reports(EDGE_UPDATED, beta.twin_update(**{"power-status": "ON", "no": "5"}))
        await twins_of(api, DEVICESTATUSES, **{"power-status": "ON"})
        assert not reads


async def test_what_a_node_is_sent_is_whole_and_was_not_read(api: Api, reads: list[str]) -> None:
    async with replica(api, "a") as a:
        await make_model(api)
        await make_device(api)
        await make_device(api, beta.device("other", node="another"))
        await a.detail("devices", 2)
        edge = Edge(a)
        await edge.connect()
        sent = await edge.takes_device()
        found = await api.client.get(DEVICES_V1BETA1, LED, "default")
        assert sent.content["spec"] == found["spec"]
        await api.client.patch(
            DEVICES_V1BETA1, LED, {"spec": beta.device(value="ON")["spec"]}, "default"
        )
        sent = await edge.takes("update", DEVICE)
        assert sent.content["spec"]["properties"][0]["desired"]["value"] == "ON"
        assert reads == [LED]  # by this test


async def test_of_a_device_that_is_bound_elsewhere_meanwhile_the_edge_deletes_what_it_has(
    api: Api,
) -> None:
    """By the protocol it finds the mapper, and by no node that this one is not."""
    async with two_replicas(api) as (a, b):
        edge, device = await has_device(api, a)
        await edge.disconnect()
        await moves(api, "other")
        moved = Edge(b)
        await moved.connect()
        await moved.said("update", "membership")
        await moved.takes("delete", MODEL)
        deleted = await moved.takes("delete", DEVICE)
        assert deleted.content["metadata"]["uid"] == device["metadata"]["uid"]
        assert deleted.content["spec"] == {"protocol": {"protocolName": "modbus"}}


async def test_a_condition_that_the_leader_writes_leaves_all_else_of_the_status(api: Api) -> None:
    await make_device(api, beta.device(node="nowhere"))
    other = {"type": "Calibrated", "status": "True", "reason": "Done", "message": ""}
    twin = {"propertyName": "power-status", "reported": {"value": "ON"}}
    status = {"conditions": [other], "twins": [twin]}
    await api.client.patch(DEVICES_V1BETA1, LED, {"status": status}, "default")
    async with replica(api, "a"):
        found = await api.until(
            DEVICES_V1BETA1,
            LED,
            "default",
            lambda obj: len((obj or {"status": status})["status"]["conditions"]) == 2,
        )
    assert found
    assert found["status"]["conditions"][0] == other
    assert found["status"]["twins"] == [twin]


async def test_a_report_into_the_device_itself_leaves_what_others_have_reported(
    api: Api, reads: list[str]
) -> None:
    """With the CRDs up to KubeEdge 1.22, which have no DeviceStatus."""
    await api.client.delete(CUSTOMRESOURCEDEFINITIONS, "devicestatuses.devices.kubeedge.io")
    properties: list[Any] = [{"name": "power-status"}, {"name": "level"}, {"name": "mode"}]
    async with two_replicas(api) as (a, b):
        await make_model(api)
        await make_device(api, beta.device(properties=properties))
        edge = Edge(a)
        await edge.connect()
        await edge.takes_device()
        await edge.reports(EDGE_UPDATED, beta.twin_update(power_status="ON", level="1"))
        await twins_of(api, DEVICES_V1BETA1, **{"power-status": "ON", "level": "1"})
        await edge.disconnect()
        moved = Edge(b)
        await moved.connect()
        reads.clear()
        await b.hear(NODE, EDGE_UPDATED, beta.twin_update(level="2", mode="auto"))
        wanted = {"power-status": "ON", "level": "2", "mode": "auto"}
        await twins_of(api, DEVICES_V1BETA1, **wanted)


async def changes_while_away(api: Api, edge: Edge) -> None:
    """Have the device change, and the node come back and take it."""
    changed = beta.device(value="ON")["spec"]
    await api.client.patch(DEVICES_V1BETA1, LED, {"spec": changed}, "default")
    other = Edge(edge.controller, "another")  # which is sent something when that was seen
    await other.connect()
    await make_device(api, beta.device("marker", node=other.node, deviceModelRef=None))
    await other.takes_device("marker", with_model=False)
    await edge.connect()
    sent = await edge.takes("update", DEVICE)
    assert sent.content["spec"] == changed


async def test_what_a_node_that_has_gone_for_long_has_reported_is_forgotten(
    api: Api, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "_KEPT", 0.0)
    monkeypatch.setattr(takeovers, "_LOOK", 0.05)
    forgotten = asyncio.Event()
    forget = Devices.forget

    def noted(devices: Devices, nodes: set[str]) -> None:
        forget(devices, nodes)
        if NODE in nodes:
            forgotten.set()

    monkeypatch.setattr(Devices, "forget", noted)
    async with replica(api, "a") as a:
        edge, _ = await has_device(api, a)
        second = beta.twin_update(power_status="ON").replace(b'"edge": 1', b'"edge": 2')
        await edge.reports(EDGE_UPDATED, second)
        await edge.disconnect()
        await forgotten.wait()
        await changes_while_away(api, edge)
        assert not reads
        # What it has reported before is forgotten, too, and this is not older than that.
        await edge.reports(EDGE_UPDATED, beta.twin_update(power_status="OFF"))
        await twins_of(api, DEVICESTATUSES, **{"power-status": "OFF"})

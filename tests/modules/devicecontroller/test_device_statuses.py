"""The DeviceStatus objects of devices, which are not watched: when they are made, read, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import (
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    Forbidden,
    KubeClient,
    Resource,
)
from modules.devicecontroller.v1beta1 import device_statuses
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import (
    ID,
    LED,
    Edge,
    device,
    make_device,
    make_model,
    twin_update,
)
from tests.modules.devicecontroller.controller import Controller, running

Json = dict[str, Any]
UPDATED = f"device/{ID}/twin/edge_updated"
PROPERTIES = [{"name": "power-status"}, {"name": "second"}]


def values_of(status: Json | None) -> Json:
    """Return what a DeviceStatus says is reported, by property."""
    twins = ((status or {}).get("status") or {}).get("twins") or []
    return {twin["propertyName"]: twin["reported"]["value"] for twin in twins}


async def says(api: Api, **values: str) -> None:
    """Wait until the DeviceStatus of the device has these reported values and no others."""
    wanted = {name.replace("_", "-"): value for name, value in values.items()}
    await api.until(DEVICESTATUSES, LED, "default", lambda found: values_of(found) == wanted)


async def exists(api: Api, name: str = LED) -> Json:
    found = await api.until(DEVICESTATUSES, name, "default", lambda found: found is not None)
    assert found
    return found


async def connected(api: Api, controller: Controller) -> Edge:
    """Return the edge of a device with two properties."""
    edge = Edge(controller)
    await make_model(api)
    await make_device(api, device(properties=PROPERTIES))
    await edge.connect()
    await edge.takes_device()
    return edge


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the DeviceStatuses that the module reads one by one."""
    names: list[str] = []
    read = KubeClient.get

    async def get(client: KubeClient, resource: Resource, name: str, *where: Any) -> Json:
        if resource is DEVICESTATUSES and client.module == "devicecontroller":
            names.append(name)
        return await read(client, resource, name, *where)

    monkeypatch.setattr(KubeClient, "get", get)
    return names


async def test_a_deleted_one_is_made_anew_with_the_next_report(
    api: Api, controller: Controller
) -> None:
    edge = await connected(api, controller)
    await edge.reports(UPDATED, twin_update(power_status="ON"))
    before = await exists(api)
    await api.client.delete(DEVICESTATUSES, LED, "default")
    await edge.reports(UPDATED, twin_update(second="1"))
    await says(api, second="1")
    assert (await exists(api))["metadata"]["uid"] != before["metadata"]["uid"]


async def test_a_deleted_one_whose_device_reports_nothing_is_made_anew_after_a_while(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_statuses, "_PERIOD", 0.2)
    await make_device(api)
    async with running(api.settings):
        await exists(api)
        await api.client.delete(DEVICESTATUSES, LED, "default")
        await exists(api)


async def test_what_others_have_written_meanwhile_is_kept(api: Api, controller: Controller) -> None:
    edge = await connected(api, controller)
    await edge.reports(UPDATED, twin_update(power_status="ON"))
    twins = (await exists(api))["status"]["twins"]
    theirs = {"propertyName": "second", "reported": {"value": "theirs"}}
    change = {"status": {"state": "theirs", "twins": [*twins, theirs]}}
    await api.client.patch(DEVICESTATUSES, LED, change, "default")
    await edge.reports(UPDATED, twin_update(power_status="OFF"))
    await says(api, power_status="OFF", second="theirs")
    assert (await exists(api))["status"]["state"] == "theirs"


async def test_after_a_restart_it_is_read_once_before_the_first_report(
    api: Api, controller: Controller, reads: list[str]
) -> None:
    edge = await connected(api, controller)
    await edge.reports(UPDATED, twin_update(power_status="ON"))
    await controller.stop()
    reads.clear()
    async with running(api.settings) as restarted:
        edge = Edge(restarted)
        await edge.connect()
        await edge.reports(UPDATED, twin_update(second="1"))
        await edge.reports(UPDATED, twin_update(second="2"))
    await says(api, power_status="ON", second="2")
    assert reads == [LED]


async def test_what_has_changed_while_none_ran_is_found_at_the_start(
    api: Api, reads: list[str]
) -> None:
    async with running(api.settings):
        for name in ("missing", "left-over", "former", "right"):
            await make_device(api, device(name))
            await exists(api, name)
    await api.client.delete(DEVICESTATUSES, "missing", "default")
    for name in ("left-over", "former"):
        await api.client.delete(DEVICES_V1BETA1, name, "default")
    uid = (await make_device(api, device("former")))["metadata"]["uid"]
    right = await exists(api, "right")
    reads.clear()
    async with running(api.settings):
        await exists(api, "missing")
        await api.until(DEVICESTATUSES, "left-over", "default", lambda found: found is None)
        await api.until(DEVICESTATUSES, "former", "default", lambda found: owner_of(found) == uid)
        await make_device(api, device("late"))
        await exists(api, "late")
    assert await exists(api, "right") == right
    assert "right" not in reads


def owner_of(status: Json | None) -> str | None:
    owners = (status or {}).get("metadata", {}).get("ownerReferences") or [{}]
    uid: str | None = owners[0].get("uid")
    return uid


async def test_without_the_right_to_list_them_reports_are_written_all_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pages = KubeClient.pages

    def refused(client: KubeClient, resource: Resource, *where: Any, **how: Any) -> Any:
        if resource is DEVICESTATUSES and client.module == "devicecontroller":
            raise Forbidden(403, "Forbidden", "no", request="list devicestatuses")
        return pages(client, resource, *where, **how)

    monkeypatch.setattr(KubeClient, "pages", refused)
    async with running(api.settings) as controller:
        edge = await connected(api, controller)
        await edge.reports(UPDATED, twin_update(power_status="ON"))
        await says(api, power_status="ON")
    assert caplog.text.count("which DeviceStatuses there are is not known") == 1

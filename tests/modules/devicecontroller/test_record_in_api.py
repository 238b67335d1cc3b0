"""The record of devices of v1beta1 as ObjectSyncs, as Go's cloud keeps it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    OBJECTSYNCS,
)
from modules.common.sync import object_syncs
from modules.common.sync.journal import STALE
from modules.common.wire.generations import V1_23
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
    moves,
)
from tests.modules.devicecontroller.controller import Controller, running
from tests.support.waiting import eventually

Json = dict[str, Any]


pytestmark = pytest.mark.usefixtures("object_syncs_soon")


async def kept(api: Api) -> dict[str, str]:
    """Return the acknowledged version in each ObjectSync, by its name."""
    page = await api.client.list(OBJECTSYNCS)
    return {
        each["metadata"]["name"]: each.get("status", {}).get("objectResourceVersion", "")
        for each in page.items
    }


def all_sure(found: dict[str, str]) -> bool:
    return not {"", "0"} & set(found.values())


async def becomes(api: Api, *objects: Json) -> None:
    """Wait until there are ObjectSyncs of these objects, and no others."""
    wanted = {name_of(obj): obj["metadata"]["resourceVersion"] for obj in objects}
    await eventually(lambda: kept(api), lambda found: found == wanted)


def name_of(obj: Json) -> str:
    return f"{NODE}.{obj['metadata']['uid']}"


async def record_as_go(api: Api, obj: Json, version: str = "") -> None:
    """Record that the node has acknowledged an object, as Go's cloud does."""
    spec = {
        "objectAPIVersion": "devices.kubeedge.io/v1beta1",
        "objectKind": obj["kind"],
        "objectName": obj["metadata"]["name"],
    }
    sync = {"metadata": {"name": name_of(obj), "namespace": "default"}, "spec": spec}
    await api.client.create(OBJECTSYNCS, sync, "default")
    seen = version or obj["metadata"]["resourceVersion"]
    status = {"status": {"objectResourceVersion": seen}}
    await api.client.patch(OBJECTSYNCS, name_of(obj), status, "default", subresource="status")


async def nothing_more(api: Api, edge: Edge) -> None:
    """Check that nothing more is sent: of a device made now the node is told next."""
    await make_device(api, device("marker", deviceModelRef=None))
    await edge.takes_device("marker", with_model=False)


async def conditions(api: Api, name: str = LED) -> None:
    """Wait until a device's condition is written, which changes its resourceVersion."""
    await api.until(
        DEVICES_V1BETA1,
        name,
        "default",
        lambda obj: bool(obj and obj.get("status", {}).get("conditions")),
    )


async def test_what_a_node_has_is_recorded_as_go_does(api: Api) -> None:
    its_model, its_device = await make_model(api), await make_device(api)
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await becomes(api, its_model, its_device)
        (sync,) = [
            each
            for each in (await api.client.list(OBJECTSYNCS, "default")).items
            if each["spec"]["objectKind"] == "Device"
        ]
        assert sync["metadata"]["name"] == f"{NODE}.{its_device['metadata']['uid']}"
        assert sync["spec"] == {
            "objectAPIVersion": "devices.kubeedge.io/v1beta1",
            "objectKind": "Device",
            "objectName": LED,
        }
        changed = await api.client.patch(
            DEVICES_V1BETA1, LED, {"spec": device(value="ON")["spec"]}, "default"
        )
        message = await edge.takes("update", DEVICE)
        assert int(message.resource_version) >= int(changed["metadata"]["resourceVersion"])
        await eventually(
            lambda: kept(api),
            lambda found: found[name_of(its_device)] == message.resource_version,
        )
        await api.client.delete(DEVICES_V1BETA1, LED, "default")
        await edge.said("update", "membership")
        await edge.takes("delete", MODEL)
        await edge.takes("delete", DEVICE)
        await becomes(api)


async def test_what_go_has_told_is_told_once_and_what_has_changed_since_is_told(api: Api) -> None:
    """A fleet that is taken over: there are ObjectSyncs, and no file."""
    its_model, its_device = await make_model(api), await make_device(api)
    stale, gone = await make_device(api, device("stale")), await make_device(api, device("gone"))
    for obj in (its_model, its_device, stale, gone):
        await record_as_go(api, obj)
    await api.client.patch(
        DEVICES_V1BETA1, "stale", {"spec": device(value="ON")["spec"]}, "default"
    )
    await api.client.delete(DEVICES_V1BETA1, "gone", "default")
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        # What is recorded changes no more when conditions and statuses are written.
        await conditions(api)
        await api.until(DEVICESTATUSES, LED, "default", bool)
        await edge.connect()
        removed = await edge.said("update", "membership")
        assert removed.content["removed_devices"] == [{"id": "default/gone", "name": "gone"}]
        assert removed.content["added_devices"] is None
        taken = [await controller.said() for _ in range(2)]
        for message in taken:
            await edge.acknowledge(message)
        by_resource = {message.resource: message for message in taken}
        deletion = by_resource[f"node/{NODE}/default/device/gone"]
        assert (deletion.operation, deletion.content["metadata"]["uid"]) == (
            "delete",
            gone["metadata"]["uid"],
        )
        update = by_resource[f"node/{NODE}/default/device/stale"]
        assert update.operation == "update"
        assert update.content["spec"]["properties"][0]["desired"]["value"] == "ON"
        await nothing_more(api, edge)
        await eventually(lambda: kept(api), lambda found: name_of(gone) not in found)


async def test_before_its_edge_has_said_so_a_node_with_records_is_of_today(api: Api) -> None:
    its_model, its_device = await make_model(api), await make_device(api)
    await record_as_go(api, its_model)
    await record_as_go(api, its_device, version="1")
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        # A message of an edge whose connection nobody has announced, in a form of all versions.
        await controller.hear(NODE, "membership/detail", '{"event_id": "e"}', "get")
        sent = [await controller.said() for _ in range(3)]
        resources = {message.resource.removeprefix(f"node/{NODE}/") for message in sent}
        assert resources == {"twin", "membership/detail", DEVICE}
        await edge.acknowledge(next(each for each in sent if each.resource.endswith(DEVICE)))
        await nothing_more(api, edge)


async def test_edges_without_a_change_are_told_nothing_after_the_file_is_lost(api: Api) -> None:
    await make_model(api)
    await make_device(api)
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await eventually(
            lambda: kept(api),
            lambda found: len(found) == 2 and not {"", "0"} & set(found.values()),
        )
    (api.settings.data_dir / "devicecontroller" / "delivered.jsonl").unlink()
    await api.client.patch(
        DEVICEMODELS_V1BETA1, "led-light", {"spec": model(protocol="opcua")["spec"]}, "default"
    )
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes("update", MODEL)


async def test_what_became_unsure_before_a_crash_is_not_taken_for_sure_from_an_objectsync(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has it at once, the API a moment later, which may be too late."""
    its_model, its_device = await make_model(api), await make_device(api)
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await eventually(lambda: kept(api), lambda found: len(found) == 2 and all_sure(found))
        monkeypatch.setattr(object_syncs, "_PAUSE", 1000.0)
        await moves(api, "other")
        await edge.said("update", "membership")
        await edge.said("delete", MODEL)
        await edge.said("delete", DEVICE)
    assert set(await kept(api)) == {name_of(its_model), name_of(its_device)}
    assert all_sure(await kept(api))
    await moves(api, NODE)
    async with running(api.settings, record="objectsync") as controller:
        controller.edges[NODE] = V1_23  # connected all the time
        await Edge(controller).takes_device()


async def test_a_change_in_flight_at_a_crash_leaves_what_was_before_unsure(api: Api) -> None:
    """The ObjectSync has the version before, which an API that is restored may have again."""
    await make_model(api)
    await make_device(api)
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await eventually(lambda: kept(api), lambda found: len(found) == 2 and all_sure(found))
        spec = {"spec": model(protocol="opcua")["spec"]}
        await api.client.patch(DEVICEMODELS_V1BETA1, "led-light", spec, "default")
        await edge.said("update", MODEL)
    assert all_sure(await kept(api))
    async with running(api.settings, record="objectsync"):
        pass
    written = (api.settings.data_dir / "devicecontroller" / "delivered.jsonl").read_text()
    rows = [json.loads(line) for line in written.splitlines()]
    assert [row[5] for row in rows if row[1] == "devicemodel"][-1] == STALE


async def test_without_the_definitions_the_file_is_used(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for plural in ("objectsyncs", "clusterobjectsyncs"):
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, f"{plural}.reliablesyncs.kubeedge.io")
    await make_model(api)
    await make_device(api)
    async with running(api.settings, record="objectsync") as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
    assert 'modules.devicecontroller.record = "file"' in caplog.text


async def test_by_default_there_is_none(api: Api, controller: Controller) -> None:
    await make_model(api)
    await make_device(api)
    edge = Edge(controller)
    await edge.connect()
    await edge.takes_device()
    await nothing_more(api, edge)
    assert not await kept(api)

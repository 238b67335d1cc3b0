"""Edges of KubeEdge 1.1 and their devices, which every replica has, compressed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from modules.common.kube import CONFIGMAPS, DEVICEMODELS, DEVICES
from modules.common.sync import takeovers
from modules.common.wire.generations import V1_1, tell
from modules.devicecontroller.compressed import CompressedDevice
from modules.devicecontroller.v1alpha1.kubectl_apply import LAST_APPLIED
from modules.devicecontroller.v1alpha1.reported_values import StatusWriter
from modules.hollow import manifests
from tests.modules.devicecontroller import fakes
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller
from tests.modules.devicecontroller.replicas import Json, alpha_connects, replica, two_replicas
from tests.modules.devicecontroller.samples import (
    LED,
    NODE,
    device,
    model,
    report,
    to_create,
    twin_list,
)

EDGE_UPDATED = f"device/{LED}/twin/edge_updated"

pytestmark = pytest.mark.usefixtures("object_syncs_soon")


def desired(found: Json) -> dict[str, str]:
    twins = found.get("status", {}).get("twins", ())
    return {twin["propertyName"]: twin.get("desired", {}).get("value") for twin in twins}


def reported(found: Json) -> str:
    (twin,) = found["status"]["twins"]
    return str(twin.get("reported", {}).get("value"))


def expected(described: Json) -> dict[str, str]:
    """Return what an edge is told to expect of a device's properties."""
    twins = described["twin"].items()
    return {name: twin["expected"]["value"] for name, twin in twins}


def reason(found: Json) -> str:
    conditions = found.get("status", {}).get("conditions", ())
    return next((each["reason"] for each in conditions if each["type"] == "Accepted"), "")


async def is_seeded(api: Api, name: str = LED) -> None:
    """Wait until the status has what the first manifest says."""
    await api.device(name, lambda found: desired(found) != {})


async def has_seen_all(api: Api, controller: Controller) -> None:
    """Wait until a replica has seen all that has changed before: it is told of a marker."""
    await controller.hear("other", "", tell(V1_1), "connected", "cloudhub")
    await controller.hear("other", "membership/detail", b"{}", "get")
    while (message := await controller.said()).resource != "node/other/membership/detail":
        assert message.resource.startswith("node/other/"), message
    await api.create(DEVICES, device("marker", node="other"))
    added = await controller.said()
    assert added.content["added_devices"][0]["id"] == "marker"
    await api.client.delete(DEVICES, "marker", "default")
    removed = await controller.said()
    assert removed.content["removed_devices"][0]["id"] == "marker"
    await controller.hear("other", "", None, "disconnected", "cloudhub")


async def leaves(controller: Controller) -> None:
    await controller.hear(NODE, "", None, "disconnected", "cloudhub")


async def test_an_edge_gets_what_has_become_of_its_devices_at_whatever_replica(api: Api) -> None:
    async with two_replicas(api) as (a, b):
        for name in ("changed", "moved", "deleted", LED):
            await api.create(DEVICES, device(name, twins={"power-status": "OFF"}))
            await is_seeded(api, name)
        found = await alpha_connects(a)
        assert found.keys() == {"changed", "moved", "deleted", LED}
        await leaves(a)
        await api.desire("changed", **{"power-status": "ON"})
        moved = {"spec": device(node="other")["spec"]}
        await api.client.patch(DEVICES, "moved", moved, "default")
        await api.client.delete(DEVICES, "deleted", "default")
        await api.create(DEVICES, device("new", twins={"power-status": "NEW"}))
        await is_seeded(api, "new")
        await has_seen_all(api, b)
        found = {name: expected(each) for name, each in (await alpha_connects(b)).items()}
        assert found == {
            "changed": {"power-status": "ON"},
            "new": {"power-status": "NEW"},
            LED: {"power-status": "OFF"},
        }
        # Both directions go on there.
        await api.client.patch(DEVICES, "moved", {"spec": device()["spec"]}, "default")
        added = await b.said()
        assert expected(added.content["added_devices"][0]) == {"power-status": "OFF"}
        sent = await b.hear(NODE, EDGE_UPDATED, report("ON", 1))
        assert (await b.said()).parent_id == sent.id
        await api.device(LED, lambda found: reported(found) == "ON")
        await api.desire(LED, **{"power-status": "DIM"})
        changed = await b.said()
        assert changed.resource == f"node/{NODE}/device/{LED}/twin/cloud_updated"
        assert expected(changed.content) == {"power-status": "DIM"}
        found_now = await api.client.get(DEVICES, LED, "default")
        assert reported(found_now) == "ON"


async def test_profiles_go_on_with_the_next_leader(api: Api) -> None:
    protocol = {"opcua": {"url": "opc.tcp://h", "userName": "u", "password": "p"}}
    async with AsyncExitStack() as leader, AsyncExitStack() as follower:
        await leader.enter_async_context(replica(api, "a"))
        await api.create(DEVICEMODELS, model())
        await api.create(DEVICES, device(protocol=protocol))
        first = await api.profile(NODE, lambda text: text is not None)
        assert first
        await follower.enter_async_context(replica(api, "b"))
        await leader.aclose()
        # It has the device that was there before, and writes the same of it.
        await api.client.delete(CONFIGMAPS, first["metadata"]["name"], "default")
        text = first["data"]["deviceProfile.json"]
        assert "opc.tcp://h" in text
        await api.profile(NODE, lambda found: found == text)
        other = {"spec": {"protocol": {"opcua": {"url": "opc.tcp://other"}}}}
        await api.client.patch(DEVICES, LED, other, "default")
        await api.profile(NODE, lambda text: text is not None and "opc.tcp://other" in text)
        moved = {"spec": device(node="another")["spec"]}
        await api.client.patch(DEVICES, LED, moved, "default")
        await api.profile("another", lambda text: text is not None)
        await api.profile(NODE, lambda text: text is None)


async def test_a_manifest_is_taken_of_a_device_whose_node_is_connected_nowhere(api: Api) -> None:
    async with two_replicas(api):
        await api.create(DEVICES, device(twins={"a": "1", "b": "1"}))
        await is_seeded(api)
        await api.desire(LED, a="1", b="edited")
        manifest = manifests.applied(to_create(device(twins={"a": "2", "b": "1"})))
        await api.client.patch(DEVICES, LED, manifest, "default")
        await api.device(LED, lambda found: desired(found) == {"a": "2", "b": "edited"})


async def test_reported_values_that_somebody_removes_come_back(api: Api) -> None:
    async with two_replicas(api) as (a, _):
        await api.create(DEVICES, device(twins={"power-status": "OFF"}))
        await is_seeded(api)
        await alpha_connects(a)
        await a.hear(NODE, EDGE_UPDATED, report("ON", 1))
        await api.device(LED, lambda found: reported(found) == "ON")
        await a.said()
        await leaves(a)
        await has_seen_all(api, a)
        status = {"twins": twin_list({"power-status": "DIM"})}
        await api.client.patch(DEVICES, LED, {"status": status}, "default", subresource="status")
        found = await api.device(LED, lambda found: reported(found) == "ON")
        assert desired(found) == {"power-status": "DIM"}


async def test_a_device_that_becomes_malformed_while_its_edge_moves_is_kept_there(
    api: Api,
) -> None:
    async with two_replicas(api) as (a, b):
        for name in (LED, "other"):
            await api.create(DEVICES, device(name, twins={"power-status": "OFF"}))
            await is_seeded(api, name)
        assert (await alpha_connects(a)).keys() == {LED, "other"}
        await leaves(a)
        text = '{"status": {"twins": [{"propertyName": "power-status", "desired": {"value": 5}}]}}'
        await api.client.patch(
            DEVICES, LED, {"metadata": {"annotations": {LAST_APPLIED: text}}}, "default"
        )
        await api.desire("other", **{"power-status": "ON"})
        await has_seen_all(api, b)
        found = {name: expected(each) for name, each in (await alpha_connects(b)).items()}
        assert found == {LED: {"power-status": "OFF"}, "other": {"power-status": "ON"}}
        set_aside = await api.device(LED, lambda found: reason(found) == "InvalidObject")
        (condition,) = set_aside["status"]["conditions"]
        assert "desired.value: expected a string" in condition["message"]
        await b.detail("set_aside", 1)
        mended = manifests.applied(to_create(device(twins={"power-status": "DIM"})))
        await api.client.patch(DEVICES, LED, mended, "default")
        changed = await b.said()
        assert changed.resource == f"node/{NODE}/device/{LED}/twin/cloud_updated"
        assert expected(changed.content) == {"power-status": "DIM"}


async def test_an_edge_that_comes_while_the_api_is_away_gets_its_devices_when_it_is_back(
    api: Api,
) -> None:
    async with two_replicas(api) as (a, b):
        await api.create(DEVICES, device(twins={"power-status": "OFF"}))
        await is_seeded(api)
        await alpha_connects(a)
        await leaves(a)
        await has_seen_all(api, b)
        await api.stop()
        await b.hear(NODE, "", tell(V1_1), "connected", "cloudhub")
        asked = await b.hear(NODE, "membership/detail", b"{}", "get")
        sent = await b.hear(NODE, EDGE_UPDATED, report("ON", 1))
        await api.start()
        answers = {each.parent_id: each for each in (await b.said(), await b.said())}
        assert answers.keys() == {asked.id, sent.id}
        (described,) = answers[asked.id].content["devices"]
        assert expected(described) == {"power-status": "OFF"}
        await api.device(LED, lambda found: reported(found) == "ON")


async def test_what_a_node_has_reported_that_has_gone_for_long_is_forgotten(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeovers, "_KEPT", 0.0)
    monkeypatch.setattr(takeovers, "_LOOK", 0.05)
    forgotten = asyncio.Event()
    forget = StatusWriter.forget_nodes

    def noted(writer: StatusWriter, nodes: set[str]) -> None:
        before = {slot.node for slot in writer._latest}
        forget(writer, nodes)
        assert {slot.node for slot in writer._latest} == before - nodes
        if NODE in nodes:
            forgotten.set()

    monkeypatch.setattr(StatusWriter, "forget_nodes", noted)
    async with replica(api, "a") as a:
        await api.create(DEVICES, device(twins={"power-status": "OFF"}))
        await is_seeded(api)
        await alpha_connects(a)
        await a.hear(NODE, EDGE_UPDATED, report("ON", 2))
        await a.said()
        await leaves(a)
        await forgotten.wait()
        # It has restarted its counts and set back its clock meanwhile, at another replica.
        await alpha_connects(a)
        await a.hear(NODE, EDGE_UPDATED, report("OFF", 1))
        await api.device(LED, lambda found: reported(found) == "OFF")


async def test_a_single_cloudcore_keeps_devices_as_they_are(tmp_path: Path) -> None:
    async with fakes.running(tmp_path, device()) as bench:
        (kept,) = bench.controller.alpha.reflectors[0].store.values()
        assert not isinstance(kept, CompressedDevice)

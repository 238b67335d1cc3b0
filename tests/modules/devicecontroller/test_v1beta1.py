"""Devices of v1beta1 with an edge of today: what is sent, and what is reported."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from modules.common.crds import manifests
from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    Resource,
)
from modules.common.sync import window
from modules.common.wire.generations import V1_1, V1_23
from modules.devicecontroller.status import acceptance
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.beta import (
    DEVICE,
    ID,
    LED,
    MODEL,
    NODE,
    Edge,
    device,
    make_device,
    make_model,
    model,
    recorded,
    twin_update,
)
from tests.modules.devicecontroller.controller import Controller, running
from tests.modules.devicecontroller.samples import device as old_device
from tests.modules.devicecontroller.samples import model as old_model
from tests.modules.devicecontroller.samples import shape
from tests.support.timers import Timers


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditions are written soon, which changes nothing that an edge is sent."""
    monkeypatch.setattr(acceptance, "_GRACE", 0.05)


async def reported(api: Api, **wanted: Any) -> dict[str, Any]:
    """Wait for a DeviceStatus with these fields in its status."""
    found = await api.until(
        DEVICESTATUSES,
        LED,
        "default",
        lambda obj: obj is not None and obj.get("status", {}) | wanted == obj.get("status", {}),
    )
    assert found
    return found


async def accepted(
    api: Api, reason: str, name: str = LED, resource: Resource = DEVICES_V1BETA1
) -> dict[str, Any]:
    """Wait until a device's condition has a reason."""

    def has_it(obj: dict[str, Any] | None) -> bool:
        conditions = (obj or {}).get("status", {}).get("conditions", [])
        return any((c["type"], c["reason"]) == ("Accepted", reason) for c in conditions)

    found = await api.until(resource, name, "default", has_it)
    assert found
    return found


async def nothing_more(api: Api, edge: Edge) -> None:
    """Check that nothing more is sent: of a device made now the node is told next."""
    await make_device(api, device("marker", deviceModelRef=None))
    await edge.takes_device("marker", with_model=False)


async def with_device(api: Api, controller: Controller) -> Edge:
    """Return a connected edge that has a device and its model."""
    edge = Edge(controller)
    await make_model(api)
    await make_device(api)
    await edge.connect()
    await edge.takes_device()
    return edge


async def test_recorded_session(
    api: Api, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Go's cloud sent a real edge of 1.23, field by field, and how that answered."""
    monkeypatch.setattr(acceptance, "_GRACE", 60.0)  # no condition in what the edge is sent
    edge = Edge(controller)
    await edge.connect()
    made_model, made = await make_model(api), await make_device(api)
    await reported(api)  # made with the device
    ours = [await edge.said("update", "membership")]
    ours.append(await edge.takes("insert", MODEL))
    ours.append(await edge.takes("insert", DEVICE))
    assert ours[1].content == made_model
    assert ours[2].content == made
    theirs = recorded("devicecontroller")[:3]
    for sent, go in zip(ours, theirs, strict=True):
        route = {
            "source": sent.source,
            "group": sent.group,
            "operation": sent.operation,
            "resource": sent.resource.removeprefix(f"node/{NODE}/"),
        }
        assert route == go["route"]
        assert sent.parent_id == ""
        assert bool(sent.resource_version) == ("resourceversion" in go["header"])
        wanted = go["content"]
        if "metadata" in wanted:
            assert sent.content.keys() == wanted.keys() - {"status"}
            assert sent.resource_version == sent.content["metadata"]["resourceVersion"]
            assert sent.content["kind"] == wanted["kind"]
            assert sent.content["apiVersion"] == wanted["apiVersion"]
        else:
            wanted["added_devices"][0]["description"] = "LEDLight"
            assert shape(sent.content) == shape(wanted)
    for message in recorded("twin")[1:]:
        content = message["content"]
        given = content if isinstance(content, str) else json.dumps(content).encode()
        await edge.reports(message["route"]["resource"], given)
    found = await reported(api, state="online", lastOnlineTime="2026-11-23T23:11:45Z")
    assert found["status"]["twins"] == [
        {
            "propertyName": "power-status",
            "reported": {
                "value": "ON",
                "metadata": {"timestamp": "1795475506064", "type": "string"},
            },
        }
    ]
    (owner,) = found["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "name": LED,
        "uid": made["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    removed = await edge.said("update", "membership")
    go = next(m for m in recorded("devicecontroller") if m["content"] and m["content"] != "OK"
              and (m["content"].get("removed_devices")))  # fmt: skip
    go["content"]["removed_devices"][0]["description"] = "LEDLight"
    assert shape(removed.content) == shape(go["content"])
    gone = [await edge.takes("delete", MODEL), await edge.takes("delete", DEVICE)]
    assert [each.group for each in gone] == ["resource", "resource"]
    assert gone[0].content == made_model
    assert gone[1].content["spec"] == made["spec"]
    assert gone[1].content["metadata"]["uid"] == made["metadata"]["uid"]
    await api.until(DEVICESTATUSES, LED, "default", lambda obj: obj is None)


async def test_changes_reach_the_node(api: Api, controller: Controller) -> None:
    edge = Edge(controller)
    await edge.connect()
    await make_model(api)
    await make_device(api)
    await edge.takes_device()
    await make_device(api, device("second"))
    await edge.takes_device("second", with_model=False)  # the node has it
    changed = device(value="ON")["spec"]
    await api.client.patch(DEVICES_V1BETA1, LED, {"spec": changed}, "default")
    message = await edge.takes("update", DEVICE)
    assert message.content["spec"]["properties"][0]["desired"]["value"] == "ON"
    # Go carries a change of a model to no node.
    await api.client.patch(
        DEVICEMODELS_V1BETA1, "led-light", {"spec": {"protocol": "opcua"}}, "default"
    )
    message = await edge.takes("update", MODEL)
    assert message.content["spec"]["protocol"] == "opcua"
    # What is not in the spec is not sent.
    await api.client.patch(DEVICES_V1BETA1, LED, {"status": {"reportCycle": 1}}, "default")
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    await edge.said("update", "membership")
    await edge.takes("delete", DEVICE)  # not the model, which another device uses
    await nothing_more(api, edge)


async def test_a_device_moves_to_another_node(api: Api, controller: Controller) -> None:
    one, other = Edge(controller), Edge(controller, "other")
    await one.connect()
    await other.connect()
    await api.make_node("other")
    await make_model(api)
    await make_device(api)
    await one.takes_device()
    await api.client.patch(DEVICES_V1BETA1, LED, {"spec": {"nodeName": "other"}}, "default")
    removed = await one.said("update", "membership")
    assert removed.content["removed_devices"][0]["id"] == ID
    await one.takes("delete", MODEL)
    gone = await one.takes("delete", DEVICE)
    assert gone.content["spec"]["nodeName"] == NODE
    await other.takes_device()


async def test_a_device_waits_for_its_model(api: Api, controller: Controller) -> None:
    """Without the model an edge registers no device with its mapper."""
    edge = Edge(controller)
    await edge.connect()
    await make_device(api)
    await edge.said("update", "membership")
    await accepted(api, "UnknownModel")
    await make_model(api)
    insert = await edge.said("insert", MODEL)
    await make_device(api, device("unrelated", deviceModelRef=None))
    await edge.takes_device("unrelated", with_model=False)
    await edge.acknowledge(insert)
    await edge.takes("insert", DEVICE)
    await accepted(api, "Accepted")


async def test_what_is_not_acknowledged_is_sent_again(
    api: Api, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch, window)
    edge = Edge(controller)
    await edge.connect()
    await make_model(api)
    await make_device(api)
    await edge.said("update", "membership")
    first = await edge.said("insert", MODEL)
    timers.pass_by(window.RESEND)
    second = await edge.said("insert", MODEL)
    assert first.id != second.id
    # A refusal is no acknowledgement.
    refused = second.error("database is locked", source="metamanager")
    await controller.cloudhub.send_to_group("devicecontroller", refused)
    await controller.hear(NODE, "membership/detail", "{}", "get")
    await edge.said("response", "twin")
    await edge.said("update", "membership/detail")
    timers.pass_by(window.LONGEST)
    await edge.takes("insert", MODEL)
    await edge.takes("insert", DEVICE)
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    await edge.said("update", "membership")
    await edge.said("delete", MODEL)
    await edge.said("delete", DEVICE)
    timers.pass_by(window.RESEND)
    await edge.takes("delete", MODEL)
    await edge.takes("delete", DEVICE)
    await nothing_more(api, edge)


async def test_after_a_restart_the_difference_is_sent(api: Api) -> None:
    await make_model(api)
    await make_device(api)
    await make_device(api, device("second"))
    await make_device(api, device("third"))
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        message = await edge.said("update", "membership")
        assert len(message.content["added_devices"]) == 3
        await edge.takes("insert", MODEL)
        for name in (LED, "second"):
            await edge.takes("insert", f"default/device/{name}")
        await edge.said("insert", "default/device/third")  # not acknowledged
        await controller.hear(NODE, "membership/detail", "{}", "get")
        await edge.said("response", "twin")
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    async with running(api.settings) as controller:
        edge = Edge(controller)
        controller.edges[NODE] = V1_23  # as CloudHub answers
        await edge.connect()
        sent = {(await controller.said()).resource for _ in range(3)}
        assert sent == {
            f"node/{NODE}/{resource}" for resource in ("membership", DEVICE, "default/device/third")
        }


async def test_a_restart_of_the_controller_alone_asks_who_is_connected(api: Api) -> None:
    await make_model(api)
    await make_device(api)
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await nothing_more(api, edge)
        await controller.hear(NODE, "membership/detail", "{}", "get")
        await edge.said("response", "twin")  # what it acknowledged before is recorded
    await api.client.patch(DEVICES_V1BETA1, LED, {"spec": device(value="ON")["spec"]}, "default")
    async with running(api.settings) as controller:
        controller.edges[NODE] = V1_23
        await Edge(controller).takes("update", DEVICE)
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    async with running(api.settings) as controller:
        controller.edges[NODE] = V1_23
        edge = Edge(controller)
        removed = await edge.said("update", "membership")
        assert removed.content["removed_devices"] == [{"id": ID, "name": LED}]
        await edge.takes("delete", MODEL)
        gone = await edge.takes("delete", DEVICE)
        # Without the protocol, the edge would not find the mapper.
        assert gone.content["spec"] == {"protocol": {"protocolName": "modbus"}}
        assert gone.content["metadata"].keys() == {"name", "namespace", "uid"}


async def test_a_node_gets_its_first_device_after_a_restart_of_the_controller_alone(
    api: Api, controller: Controller
) -> None:
    controller.edges[NODE] = V1_23  # connected since before the start, and has said nothing
    await make_model(api)
    await make_device(api)
    await Edge(controller).takes_device()


async def test_an_edge_without_changes_is_sent_nothing_when_it_connects_again(
    api: Api, controller: Controller
) -> None:
    edge = await with_device(api, controller)
    await edge.disconnect()
    await edge.connect()
    asked = await controller.hear(NODE, "membership/detail", '{"event_id": "e"}', "get")
    answer = await edge.said("response", "twin")
    assert (answer.parent_id, answer.content) == (asked.id, "OK")
    listed = await edge.said("update", "membership/detail")
    assert (listed.source, listed.group, listed.parent_id) == ("devicecontroller", "twin", "")
    assert listed.content["event_id"] == "e"
    assert listed.content["devices"] == [{"id": ID, "name": LED, "description": "LEDLight"}]
    await nothing_more(api, edge)


async def test_an_edge_that_has_lost_its_database_is_sent_everything(
    api: Api, controller: Controller
) -> None:
    edge = await with_device(api, controller)
    await controller.hear(NODE, "", None, "lost", "edgecontroller")
    await edge.takes("insert", MODEL)
    await edge.takes("insert", DEVICE)


async def test_a_device_of_the_same_name_replaces_another(api: Api, controller: Controller) -> None:
    edge = await with_device(api, controller)
    await edge.disconnect()
    await api.client.delete(DEVICES_V1BETA1, LED, "default")
    await api.until(DEVICESTATUSES, LED, "default", lambda obj: obj is None)
    made = await make_device(api, device(value="ON"))
    await reported(api)
    await edge.connect()
    removed = await edge.said("update", "membership")  # the edge drops the values of the former
    assert [each["id"] for each in removed.content["removed_devices"]] == [ID]
    gone = await edge.takes("delete", DEVICE)
    assert gone.content["metadata"]["uid"] != made["metadata"]["uid"]
    added = await edge.said("update", "membership")
    assert [each["id"] for each in added.content["added_devices"]] == [ID]
    new = await edge.takes("insert", DEVICE)
    assert new.content["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_model_takes_the_place_of_another_one_of_its_name(
    api: Api, controller: Controller
) -> None:
    """An edge that starts while it has no model does not register the devices."""
    edge = Edge(controller)
    await edge.connect()
    await make_model(api)
    await make_device(api)
    await edge.takes_device()
    await api.client.delete(DEVICEMODELS_V1BETA1, "led-light", "default")
    await accepted(api, "UnknownModel")
    made = await make_model(api)  # the same, but for its uid
    message = await edge.takes("insert", MODEL)
    assert message.content["metadata"]["uid"] == made["metadata"]["uid"]
    await nothing_more(api, edge)


async def test_reports_of_all_forms(api: Api, controller: Controller) -> None:
    edge = Edge(controller)
    await make_model(api)
    properties = [{"name": name} for name in ("power-status", "second")]
    await make_device(api, device(properties=properties))
    await edge.connect()
    await edge.takes_device()
    # The first report of a property, which Go's cloud loses.
    await edge.reports(f"device/{ID}/twin/edge_updated", twin_update(power_status="ON"))
    # Up to KubeEdge 1.16 without the namespace; and of a property that the device has not.
    await edge.reports(f"device/{LED}/twin/edge_updated", twin_update(second="2", third="3"))
    observed = {"expected": {"value": "OFF", "metadata": {"timestamp": 5}}}
    content = json.dumps({"twin": {"power-status": observed}}).encode()
    await edge.reports(f"device/{ID}/twin/edge_updated", content)
    found = (await api.client.get(DEVICESTATUSES, LED, "default"))["status"]["twins"]
    reported = {"timestamp": "7", "type": "string"}
    assert found == [
        {
            "propertyName": "power-status",
            "reported": {"value": "ON", "metadata": reported},
            "observedDesired": {"value": "OFF", "metadata": {"timestamp": "5"}},
        },
        {"propertyName": "second", "reported": {"value": "2", "metadata": reported}},
    ]
    # One of an older version, which was sent again, changes nothing.
    older = json.loads(twin_update(power_status="STALE"))
    older["twin"]["power-status"]["actual_version"]["edge"] = 0
    await edge.reports(f"device/{ID}/twin/edge_updated", json.dumps(older).encode())
    found = (await api.client.get(DEVICESTATUSES, LED, "default"))["status"]["twins"]
    assert found[0]["reported"]["value"] == "ON"


@pytest.mark.parametrize("content", [b"{", b'{"twin": []}', b'{"twin": 1}', None, b"[]"])
@pytest.mark.parametrize("aspect", ["twin/edge_updated", "state/update"])
async def test_malformed_reports_are_confirmed_and_set_aside(
    api: Api, controller: Controller, content: Any, aspect: str, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await with_device(api, controller)
    if aspect == "state/update" and content:
        content = content.replace(b"twin", b"device")
    await edge.reports(f"device/{ID}/{aspect}", content)
    assert "cannot use message 'update'" in caplog.text
    await edge.reports(f"device/{ID}/twin/edge_updated", twin_update(power_status="ON"))
    found = (await api.client.get(DEVICESTATUSES, LED, "default"))["status"]["twins"]
    assert found[0]["reported"]["value"] == "ON"


async def test_a_node_reports_on_its_own_devices_alone(
    api: Api, controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    edge, other = Edge(controller), Edge(controller, "other")
    await make_model(api)
    await make_device(api)
    await edge.connect()
    await edge.takes_device()
    await other.connect()
    with caplog.at_level("INFO"):
        await other.reports(f"device/{ID}/twin/edge_updated", twin_update(power_status="X"))
        await other.reports(f"device/{ID}/state/update", '{"device": {"state": "X"}}')
        await other.reports("device/default/unknown/state/update", "{}")
    assert caplog.text.count("dropped") == 3
    assert (await api.client.get(DEVICESTATUSES, LED, "default")).get("status") in ({}, None)


async def test_crds_up_to_1_22_have_the_reports_in_the_device(api: Api) -> None:
    await api.client.delete(CUSTOMRESOURCEDEFINITIONS, "devicestatuses.devices.kubeedge.io")
    await make_model(api)
    await make_device(api)
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await edge.reports(f"device/{ID}/twin/edge_updated", twin_update(power_status="ON"))
        await edge.reports(f"device/{ID}/state/update", '{"device": {"state": "online"}}')
        found = (await api.client.get(DEVICES_V1BETA1, LED, "default"))["status"]
        assert found["twins"][0]["reported"]["value"] == "ON"
        assert found["state"] == "online"
        await accepted(api, "Accepted")
        await nothing_more(api, edge)


async def test_clusters_of_go_have_v1beta1_alone(api: Api) -> None:
    for plural in ("devices", "devicemodels"):
        name = f"{plural}.devices.kubeedge.io"
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, name)
        definition = manifests.load(plural)
        definition["spec"]["versions"] = definition["spec"]["versions"][:1]
        await api.client.create(CUSTOMRESOURCEDEFINITIONS, definition)
    await make_model(api)
    await make_device(api)
    await make_device(api, {"metadata": {"name": "bare"}, "spec": {}})
    async with running(api.settings) as controller:
        edge = Edge(controller)
        await edge.connect()
        await edge.takes_device()
        await api.event("NoNode", device="bare")
        # One of v1.1 gets none; what it asks and reports is acknowledged all the same.
        old = Edge(controller, "old")
        await old.connect(V1_1)
        for resource in ("membership/detail", "device/a/twin/edge_updated"):
            await old.reports(resource, b"{}")


async def test_both_versions_at_once_and_each_for_its_edges(
    api: Api, controller: Controller
) -> None:
    edge, old = Edge(controller), Edge(controller, "old")
    await edge.connect()
    await old.connect(V1_1)
    await controller.hear("old", "membership/detail", b"", "get")
    assert (await old.said("response", "membership/detail")).content["devices"] == []
    await make_model(api)
    await make_device(api)
    await edge.takes_device()
    await api.create(DEVICEMODELS, old_model("old-light"))
    await api.create(DEVICES, old_device("old-led", node="old", model="old-light"))
    added = await old.said("update", "membership")
    assert added.content["added_devices"][0]["id"] == "old-led"
    # And the other way round: neither is told of them, and they say so.
    await api.create(DEVICES, old_device("wrong-1", node=NODE, model="old-light"))
    await make_device(api, device("wrong-2", node="old"))
    first = await api.event("OtherVersion", device="wrong-1")
    second = await api.event("OtherVersion", device="wrong-2")
    assert "knows devices of v1beta1 only" in first["message"]
    assert "knows devices of v1alpha1 only" in second["message"]
    await nothing_more(api, edge)
    counted = controller.details
    await controller.detail("devices", 5)
    assert counted["rejected_devices"] >= 2
    # Neither version shows the objects of the other one.
    await api.client.delete(DEVICES, "old-led", "default")
    gone = await old.said("update", "membership")
    assert gone.content["removed_devices"][0]["id"] == "old-led"


async def test_a_device_of_the_other_version_says_so_until_its_edge_knows_it(
    api: Api, controller: Controller
) -> None:
    edge, other = Edge(controller), Edge(controller, "other")
    await edge.connect()
    await other.connect(V1_1)
    await make_model(api)
    await make_device(api, device(node="other"))
    await api.create(DEVICEMODELS, old_model("old-light"))
    await api.create(DEVICES, old_device("old-led", node=NODE, model="old-light"))
    for name, resource, text in (
        (LED, DEVICES_V1BETA1, "node other is of KubeEdge 1.1 and knows devices of v1alpha1 only"),
        ("old-led", DEVICES, "knows devices of v1beta1 only"),
    ):
        found = await accepted(api, "OtherVersion", name, resource)
        (condition,) = found["status"]["conditions"]
        assert condition["status"] == "False"
        assert text in condition["message"]
        assert "create the device in that version" in condition["message"]
    # The node gets an edge of today.
    await other.disconnect()
    await other.connect()
    await other.takes_device()
    found = await accepted(api, "Accepted")
    assert found["status"]["conditions"][0]["status"] == "True"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"nodeName": 5}, "spec.nodeName: expected a string, got an integer"),
        ({"nodeName": "a/b"}, "spec.nodeName: is not the name of a node"),
        ({"properties": {}}, "spec.properties: expected an array, got an object"),
        ({"protocol": "modbus"}, "spec.protocol: expected an object, got a string"),
    ],
)
async def test_malformed_devices_are_set_aside(
    api: Api, controller: Controller, spec: dict[str, Any], problem: str
) -> None:
    edge = Edge(controller)
    await edge.connect()
    await api.make_node(NODE)
    await make_model(api)
    bad = device()
    bad["spec"] |= spec
    await api.client.create(DEVICES_V1BETA1, bad, "default")
    event = await api.event("InvalidObject", device=LED)
    assert problem in event["message"]
    found = await accepted(api, "InvalidObject")
    assert problem in found["status"]["conditions"][0]["message"]
    await make_device(api, device("good"))
    await edge.takes_device("good")
    # A node keeps the last state that could be used.
    await api.client.patch(DEVICES_V1BETA1, "good", {"spec": {"nodeName": 5}}, "default")
    await api.event("InvalidObject", device="good")
    await api.client.patch(DEVICES_V1BETA1, LED, {"spec": device()["spec"]}, "default")
    await edge.takes_device(with_model=False)


async def test_a_malformed_model_leaves_its_devices_waiting(
    api: Api, controller: Controller
) -> None:
    edge = Edge(controller)
    await edge.connect()
    await make_model(api, model(properties=[{"name": 5, "accessMode": "ReadOnly"}]))
    await make_device(api)
    await edge.said("update", "membership")
    found = await accepted(api, "InvalidModel")
    assert "expected a string, got an integer" in found["status"]["conditions"][0]["message"]
    await api.client.patch(DEVICEMODELS_V1BETA1, "led-light", {"spec": model()["spec"]}, "default")
    await edge.takes("insert", MODEL)
    await edge.takes("insert", DEVICE)


async def test_many_devices_go_in_a_window(
    api: Api, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "WINDOW", 2)
    edge = Edge(controller)
    await make_model(api)
    for number in range(4):
        await make_device(api, device(f"d{number}"))
    await controller.detail("devices", 4)
    await edge.connect()
    await edge.said("update", "membership")
    await edge.takes("insert", MODEL)
    first, second = [await edge.said("insert", f"default/device/d{n}") for n in range(2)]
    asked = await controller.hear(NODE, "membership/detail", "{}", "get")
    assert (await edge.said("response", "twin")).parent_id == asked.id  # nothing in between
    await edge.said("update", "membership/detail")
    await edge.acknowledge(first)
    third = await edge.said("insert", "default/device/d2")
    for message in (second, third):
        await edge.acknowledge(message)
    await edge.takes("insert", "default/device/d3")
    await asyncio.sleep(0)

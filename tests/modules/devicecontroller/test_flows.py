"""Each flow of the module, both ways, over real HTTP and real channels."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest

from modules.common.kube import CONFIGMAPS, DEVICEMODELS, DEVICES, EVENTS, NAMESPACES, NODES
from modules.common.wire.generations import V1_1, V1_23, tell
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller, quiet, running
from tests.modules.devicecontroller.samples import (
    CAPTURE,
    LED,
    NODE,
    device,
    model,
    recorded,
    report,
    shape,
    to_create,
)

MEMBERSHIP = f"node/{NODE}/membership"
CLOUD_UPDATED = f"device/{LED}/twin/cloud_updated"
EDGE_UPDATED = f"device/{LED}/twin/edge_updated"


def reported(found: dict[str, Any]) -> dict[str, Any]:
    """The reported values of a Device."""
    return {twin["propertyName"]: twin.get("reported") for twin in found["status"]["twins"]}


def condition(found: dict[str, Any]) -> dict[str, Any]:
    """The condition that says whether a device is accepted."""
    conditions = found.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == "Accepted"), {"status": "", "reason": ""})


def recorded_payloads(resource: str) -> list[bytes]:
    """The contents of an edge's recorded messages, byte for byte."""
    lines = map(json.loads, CAPTURE.read_text().splitlines())
    messages = [line for line in lines if line.get("message")]
    return [
        base64.b64decode(line["frame"]["b64"]).split(resource.encode() + b"\x1a")[1][2:]
        for line in messages
        if line["message"]["route"]["resource"] == resource
    ]


async def test_recorded_session(api: Api, controller: Controller) -> None:
    """The recorded session's device from its creation to its end, without the Go cloud's echo."""
    session = recorded()
    (get, *_), (state, *_) = session["membership/detail"], session[f"device/{LED}/state"]
    asked = await controller.hear(NODE, "membership/detail", json.dumps(get["content"]), "get")
    answer = await controller.said()
    assert (answer.resource, answer.parent_id) == (f"node/{NODE}/membership/detail", asked.id)
    assert answer.content["devices"] == []

    await api.create(DEVICEMODELS, model())
    created = await api.create(DEVICES, device())
    added = await controller.said()
    assert added.resource == MEMBERSHIP
    assert shape(added.content) == shape(session["membership"][0]["content"])
    version = added.content["added_devices"][0]["twin"]["power-status"]["expected_version"]
    assert version == {"cloud": int(created["metadata"]["resourceVersion"]), "edge": 0}

    online = await controller.hear(
        NODE, f"device/{LED}/state", json.dumps(state["content"]).encode()
    )
    confirmed = await controller.said()
    assert (confirmed.resource, confirmed.parent_id) == (f"node/{NODE}/twin", online.id)

    (payload,) = recorded_payloads(EDGE_UPDATED)
    updated = await controller.hear(NODE, EDGE_UPDATED, payload)
    confirmed = await controller.said()
    assert (confirmed.source, confirmed.group) == ("devicecontroller", "twin")
    assert (confirmed.operation, confirmed.resource) == ("response", f"node/{NODE}/twin")
    assert (confirmed.parent_id, confirmed.content) == (updated.id, "OK")
    found = await api.client.get(DEVICES, LED, "default")
    assert found["status"]["twins"] == [
        {
            "propertyName": "power-status",
            "desired": {"value": "OFF", "metadata": {"type": "string"}},
            "reported": {
                "value": "ON",
                "metadata": {"timestamp": "1795475365273", "type": "string"},
            },
        }
    ]
    await quiet(api, controller)

    await api.desire(LED, **{"power-status": "ON"})
    changed = await controller.said()
    assert changed.resource == f"node/{NODE}/{CLOUD_UPDATED}"
    assert shape(changed.content) == shape(session[CLOUD_UPDATED][1]["content"])

    await api.client.delete(DEVICES, LED, "default")
    removed = await controller.said()
    assert removed.resource == MEMBERSHIP
    assert shape(removed.content) == shape(session["membership"][1]["content"])


async def test_profile_comes_and_goes_with_its_devices(api: Api, controller: Controller) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device("a"))
    await api.create(DEVICES, device("b"))
    whole = await api.profile(NODE, lambda text: text is not None and '"b"' in text)
    assert whole
    assert whole["data"]["deviceProfile.json"].startswith(
        '{"deviceInstances":[{"id":"a","name":"a","model":"led-light"},'
        '{"id":"b","name":"b","model":"led-light"}],"deviceModels":[{"name":"led-light",'
    )
    await api.client.delete(DEVICES, "a", "default")
    await api.profile(NODE, lambda text: text is not None and '"a"' not in text)
    await api.client.delete(DEVICES, "b", "default")
    await api.profile(NODE, lambda text: text is None)


async def test_moved_device(api: Api, controller: Controller) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device())
    await controller.said()
    await api.profile(NODE, lambda text: text is not None)
    await api.client.patch(DEVICES, LED, {"spec": device(node="other")["spec"]}, "default")
    there, here = await controller.said(), await controller.said()
    assert (there.resource, here.resource) == ("node/other/membership", MEMBERSHIP)
    assert there.content["added_devices"][0]["id"] == LED
    assert here.content["removed_devices"][0]["id"] == LED
    await api.profile("other", lambda text: text is not None)
    await api.profile(NODE, lambda text: text is None)


async def test_changed_protocol_is_for_the_profile_alone(api: Api, controller: Controller) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device(protocol={"bluetooth": {"macAddress": "a"}}))
    await controller.said()
    change = {"spec": {"protocol": {"bluetooth": None, "opcua": {"url": "opc.tcp://h"}}}}
    await api.client.patch(DEVICES, LED, change, "default")
    await api.profile(NODE, lambda text: text is not None and "opc.tcp://h" in text)
    await quiet(api, controller)


async def test_changed_model_reaches_every_profile(api: Api, controller: Controller) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device("a", node="n1"))
    await api.create(DEVICES, device("b", node="n2"))
    for node in ("n1", "n2"):
        await api.profile(node, lambda text: text is not None)
    change = {
        "spec": {"properties": [{"name": "new", "type": {"int": {"accessMode": "ReadOnly"}}}]}
    }
    await api.client.patch(DEVICEMODELS, "led-light", change, "default")
    for node in ("n1", "n2"):
        await api.profile(node, lambda text: text is not None and '"name":"new"' in text)
    await api.client.delete(DEVICEMODELS, "led-light", "default")
    for node in ("n1", "n2"):
        await api.profile(node, lambda text: text is None)


async def test_unknown_model_is_told_and_heals(api: Api, controller: Controller) -> None:
    await api.create(DEVICES, device())
    assert (await controller.said()).content["added_devices"][0]["id"] == LED
    event = await api.event("UnknownModel")
    assert event["type"] == "Warning"
    assert event["involvedObject"]["name"] == LED
    assert "no DeviceModel 'led-light' in namespace default" in event["message"]
    await controller.detail("rejected_devices", 1)
    rejected = condition(await api.device(LED, lambda found: condition(found)["status"] == "False"))
    assert (rejected["reason"], rejected["message"]) == ("UnknownModel", event["message"])
    await api.create(DEVICEMODELS, model())
    await api.profile(NODE, lambda text: text is not None and LED in text)
    await controller.detail("rejected_devices", 0)
    accepted = condition(await api.device(LED, lambda found: condition(found)["status"] == "True"))
    assert accepted["reason"] == "Accepted"


async def test_unknown_node_is_told_and_heals(api: Api, controller: Controller) -> None:
    await api.create(DEVICEMODELS, model())
    await api.client.create(DEVICES, to_create(device(node="nowhere")), "default")
    assert (await controller.said()).resource == "node/nowhere/membership"
    event = await api.event("UnknownNode")
    assert "there is no node 'nowhere'" in event["message"]
    await api.device(LED, lambda found: condition(found)["reason"] == "UnknownNode")
    await api.make_node("nowhere")
    await api.device(LED, lambda found: condition(found)["status"] == "True")
    await api.client.delete(NODES, "nowhere")
    await api.device(LED, lambda found: condition(found)["reason"] == "UnknownNode")


async def test_condition_of_an_accepted_device_is_written_once(
    api: Api, controller: Controller
) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device())
    first = await api.device(LED, lambda found: condition(found)["status"] == "True")
    change = {"metadata": {"labels": {"description": "another"}}}
    await api.client.patch(DEVICES, LED, change, "default")
    await controller.said()
    await quiet(api, controller)
    assert condition(await api.client.get(DEVICES, LED, "default")) == condition(first)


async def test_device_without_node_is_told(api: Api, controller: Controller) -> None:
    await api.create(DEVICES, device(node=None))
    event = await api.event("NoNode")
    assert "spec.nodeSelector" in event["message"]
    await quiet(api, controller)


async def test_several_namespaces_on_one_node(api: Api, controller: Controller) -> None:
    for namespace in ("x", "y"):
        await api.client.create(NAMESPACES, {"metadata": {"name": namespace}})
        await api.create(DEVICEMODELS, model(namespace=namespace))
    await api.create(DEVICES, device("a", namespace="x"))
    await api.create(DEVICES, device("b", namespace="y"))
    added = [(await controller.said()).content["added_devices"][0]["id"] for _ in range(2)]
    assert added == ["a", "b"]
    await api.profile(NODE, lambda text: text is not None and '"a"' in text, "x")
    await api.profile(NODE, lambda text: text is not None and '"b"' in text, "y")
    await controller.hear(NODE, "membership/detail", "", "get")
    assert [one["id"] for one in (await controller.said()).content["devices"]] == ["a", "b"]
    await controller.hear(NODE, "device/b/twin/edge_updated", report("ON", 1))
    await controller.said()
    written = await api.client.get(DEVICES, "b", "y")
    assert reported(written)["power-status"]["value"] == "ON"


async def test_second_device_of_one_name_waits_for_its_turn(
    api: Api, controller: Controller
) -> None:
    await api.client.create(NAMESPACES, {"metadata": {"name": "zoo"}})
    await api.create(DEVICES, device("d"))
    assert (await controller.said()).content["added_devices"]
    await api.create(DEVICES, device("d", namespace="zoo", twins={"other": "1"}))
    event = await api.event("NameTaken", "zoo")
    assert "default/d" in event["message"]
    await quiet(api, controller)
    await api.client.delete(DEVICES, "d", "default")
    assert (await controller.said()).content["removed_devices"][0]["id"] == "d"
    assert "other" in (await controller.said()).content["added_devices"][0]["twin"]


async def test_edited_and_deleted_profiles_come_back(api: Api, controller: Controller) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device())
    right = await api.profile(NODE, lambda text: text is not None)
    assert right
    name, text = right["metadata"]["name"], right["data"]["deviceProfile.json"]
    edit = {"data": {"deviceProfile.json": "{}"}}
    await api.client.patch(CONFIGMAPS, name, edit, "default")
    await api.profile(NODE, lambda found: found == text)
    await api.client.delete(CONFIGMAPS, name, "default")
    await api.profile(NODE, lambda found: found == text)


async def test_profile_of_the_go_cloudcore_is_taken_over(api: Api) -> None:
    name = f"device-profile-config-{NODE}"
    theirs = {"metadata": {"name": name}, "data": {"deviceProfile.json": "{}", "mine": "1"}}
    await api.client.create(CONFIGMAPS, theirs, "default")
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device())
    async with running(api.settings):
        taken = await api.profile(NODE, lambda text: text is not None and LED in text)
        assert taken
        assert taken["data"]["mine"] == "1"
        assert taken["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "cloudcore"


async def test_restart_says_and_writes_nothing_again(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device("kept"))
    await api.create(DEVICES, device("gone", node="other"))
    async with running(api.settings) as controller:
        for _ in range(2):
            await controller.said()
        before = await api.profile(NODE, lambda text: text is not None)
        await api.profile("other", lambda text: text is not None)
    await api.client.delete(DEVICES, "gone", "default")
    with caplog.at_level(logging.INFO):
        async with running(api.settings) as controller:
            removed = await controller.said()
            assert removed.resource == "node/other/membership"
            assert removed.content["removed_devices"][0]["id"] == "gone"
            await api.profile("other", lambda text: text is None)
            await quiet(api, controller)
            after = await api.profile(NODE, lambda text: text is not None)
    assert before
    assert after
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    assert ": updated" not in caplog.text


async def test_restart_tells_a_fault_in_the_same_event(api: Api) -> None:
    await api.create(DEVICES, device("first", node=None))
    async with running(api.settings):
        await api.event("NoNode", device="first")
    async with running(api.settings):
        await api.create(DEVICES, device("second", node=None))
        await api.event("NoNode", device="second")
    events, _ = await api.client.list(EVENTS, "default")
    assert sorted(event["involvedObject"]["name"] for event in events) == ["first", "second"]


async def test_reports_while_the_api_is_away_are_written_when_it_is_back(
    api: Api, controller: Controller
) -> None:
    await api.create(DEVICES, device())
    await controller.said()
    await api.stop()
    heard = [await controller.hear(NODE, EDGE_UPDATED, report(f"v{n}", n)) for n in range(1, 6)]
    # The node's question is answered all the same: nothing of it is in the API.
    asked = await controller.hear(NODE, "membership/detail", b"", "get")
    assert (await controller.said()).parent_id == asked.id
    await api.start()
    confirmed = [(await controller.said()).parent_id for _ in heard]
    assert confirmed == [message.id for message in heard]
    found = await api.client.get(DEVICES, LED, "default")
    assert reported(found)["power-status"]["value"] == "v5"


async def test_unwritten_reports_stay_in_the_channel(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a replacement of the module gets them, whatever became of this one."""
    monkeypatch.setattr("modules.devicecontroller.controller._DRAIN", 0.05)
    await api.create(DEVICES, device())
    controller = Controller(api.settings)
    await controller.ready()
    await controller.said()
    await controller.hear(NODE, EDGE_UPDATED, report("written", 1))
    await controller.said()
    await api.stop()
    await controller.hear(NODE, EDGE_UPDATED, report("not written", 2))
    await controller.hear(NODE, "membership/detail", b"", "get")
    await controller.said()  # so the report has been taken before
    await controller.stop()
    inbox = controller.context.registry.mailbox("devicecontroller").inbox
    assert inbox.statistics().messages == 1


async def test_older_report_does_not_undo_a_newer_one(api: Api, controller: Controller) -> None:
    await api.create(DEVICES, device())
    await controller.said()
    for value, version, timestamp in (
        ("new", 7, 1700),
        ("repeated", 6, 1600),
    ):
        await controller.hear(NODE, EDGE_UPDATED, report(value, version, timestamp))
        await controller.said()
    found = await api.client.get(DEVICES, LED, "default")
    assert reported(found)["power-status"]["value"] == "new"
    # A device that was added again counts from 1, and a clock that was set back counts on.
    for value, version, timestamp in (("re-added", 1, 1800), ("set back", 2, 5)):
        await controller.hear(NODE, EDGE_UPDATED, report(value, version, timestamp))
        await controller.said()
        found = await api.client.get(DEVICES, LED, "default")
        assert reported(found)["power-status"]["value"] == value


async def test_report_of_another_node_changes_nothing(api: Api, controller: Controller) -> None:
    await api.create(DEVICES, device())
    await controller.said()
    before = await api.device(LED, lambda found: "twins" in found.get("status", {}))
    heard = await controller.hear("intruder", EDGE_UPDATED, report("ON", 1))
    assert (await controller.said()).parent_id == heard.id
    found = await api.client.get(DEVICES, LED, "default")
    assert found["status"]["twins"] == before["status"]["twins"]


async def test_what_cannot_be_used_is_dropped(
    api: Api, controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    await api.create(DEVICES, device())
    await controller.said()
    unknown = json.dumps({"twin": {"no-such": {"actual": {"value": "1"}}}}).encode()
    with caplog.at_level(logging.INFO):
        heard = [
            await controller.hear(NODE, EDGE_UPDATED, b"{"),
            await controller.hear(NODE, EDGE_UPDATED, unknown),
            await controller.hear(NODE, "device/other/twin/edge_updated", report("ON", 1)),
            await controller.hear(NODE, "something/else", b""),
        ]
        confirmed = {(await controller.said()).parent_id for _ in heard}
    assert confirmed == {message.id for message in heard}
    assert f"message 'update' 'node/{NODE}/{EDGE_UPDATED}': input data was truncated" in caplog.text
    assert f"node {NODE}: report about unknown device other dropped" in caplog.text
    # Neither answered nor confirmed: answers, and what names no node.
    await controller.hear(NODE, "membership", b"OK", "response")
    stray = heard[0].clone()
    stray.resource = "nonsense"
    await controller.cloudhub.send("devicecontroller", stray)
    # What an edge sends without a resource comes with a slash: it is confirmed, and no more.
    nothing = heard[0].clone()
    nothing.resource = f"node/{NODE}/"
    await controller.cloudhub.send("devicecontroller", nothing)
    assert (await controller.said()).parent_id == nothing.id
    await quiet(api, controller)
    assert (
        "cannot use message 'update' 'nonsense': resource 'nonsense' does not start" in caplog.text
    )


async def test_connected_node_is_left_to_ask(api: Api, controller: Controller) -> None:
    event = json.dumps({"event_type": "connected", "timestamp": 1, "client_id": NODE})
    await controller.hear(NODE, "", event, "connected", "cloudhub")
    asked = await controller.hear(NODE, "membership/detail", b"", "get")
    assert (await controller.said()).parent_id == asked.id
    await controller.hear(NODE, "", event, "disconnected", "cloudhub")
    await quiet(api, controller)


async def test_connected_node_that_does_not_ask_is_told(
    api: Api, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.devicecontroller.upstream._ASK_WITHIN", 0.01)
    await controller.hear(NODE, "", "", "connected", "cloudhub")
    assert (await controller.said()).resource == f"node/{NODE}/membership/detail"


async def test_details_for_status(api: Api) -> None:
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device("a"))
    await api.create(DEVICES, device("b"))
    async with running(api.settings) as controller:
        assert controller.details == {
            "devices": 2,
            "device_models": 1,
            "nodes_with_devices": 1,
            "rejected_devices": 0,
            "set_aside": 0,
            "trouble": "",
        }


async def test_applying_desired_values_does_not_lose_reported_ones(
    api: Api, controller: Controller
) -> None:
    """`kubectl apply` replaces the list of twins, where that is part of the object."""
    await api.set_status_subresource(False)
    await api.create(DEVICES, device(twins={"power-status": "OFF", "dropped": "1"}))
    await controller.said()
    await controller.hear(NODE, EDGE_UPDATED, report("ON", 1))
    await controller.said()
    applied = {"status": device(twins={"power-status": "ON", "new": "2"})["status"]}
    await api.client.patch(DEVICES, LED, applied, "default")
    found = await api.device(LED, lambda found: reported(found)["power-status"] is not None)
    assert reported(found)["power-status"]["value"] == "ON"
    assert reported(found)["new"] is None
    assert "dropped" not in reported(found)
    assert set((await controller.said()).content["twin"]) == {"power-status", "new", "dropped"}
    await quiet(api, controller)


async def test_an_edge_of_today_is_sent_no_device_of_v1alpha1_and_need_not_ask_again(
    api: Api,
) -> None:
    """It knows v1beta1 only, and repeats each minute what is not acknowledged."""
    await api.create(DEVICES, device())

    async def quiet_for_it(controller: Controller) -> None:
        for resource, operation in (
            ("membership/detail", "get"),
            (f"device/default/{LED}/twin/edge_updated", "update"),
            (EDGE_UPDATED, "update"),
        ):
            asked = await controller.hear(NODE, resource, report("ON", 1), operation)
            answer = await controller.said()
            assert (answer.parent_id, answer.operation) == (asked.id, "response")
            assert (answer.source, answer.group) == ("devicecontroller", "twin")
            assert (answer.resource, answer.content) == (f"node/{NODE}/twin", "OK")
            if operation == "get":
                answer = await controller.said()
                assert answer.resource == f"node/{NODE}/membership/detail"
                assert (answer.parent_id, answer.content["devices"]) == ("", [])
        await quiet(api, controller)

    async with running(api.settings) as controller:
        assert (await controller.said()).content["added_devices"]
        await controller.hear(NODE, "", tell(V1_23), "connected", "cloudhub")
        await quiet_for_it(controller)
        await api.desire(LED, **{"power-status": "ON"})
        await quiet_for_it(controller)
        found = await api.client.get(DEVICES, LED, "default")
        assert reported(found)["power-status"] is None
    async with running(api.settings) as controller:  # it is not told again that it connected
        await api.client.delete(DEVICES, LED, "default")
        await quiet_for_it(controller)
        await controller.hear(NODE, "", tell(V1_1), "connected", "cloudhub")
        await controller.hear(NODE, "membership/detail", "", "get")
        assert (await controller.said()).content["devices"] == []

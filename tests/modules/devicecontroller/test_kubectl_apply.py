"""KubeEdge's examples have desired values in the status, which an API server leaves aside."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import DEVICES
from modules.devicecontroller.v1alpha1.kubectl_apply import LAST_APPLIED, applied_to, difference
from modules.hollow import manifests
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller, quiet, running
from tests.modules.devicecontroller.samples import LED, device, to_create, twin_list


def desired(found: dict[str, Any]) -> dict[str, str]:
    """The desired values in a Device's status."""
    twins = found.get("status", {}).get("twins", ())
    return {twin["propertyName"]: twin.get("desired", {}).get("value") for twin in twins}


def told(content: dict[str, Any]) -> dict[str, str]:
    """What a node is told to expect; for a dropped property, that it is deleted."""
    return {
        name: "deleted" if twin["metadata"] == {"type": "deleted"} else twin["expected"]["value"]
        for name, twin in content["twin"].items()
    }


async def apply(api: Api, **twins: str) -> None:
    """Apply another manifest of the device, as `kubectl apply` does: by a merge patch."""
    manifest = manifests.applied(to_create(device(twins=twins)))
    await api.client.patch(DEVICES, LED, manifest, "default")


async def test_applied_device_is_announced_with_its_desired_values(
    api: Api, controller: Controller
) -> None:
    """In one message, as it is where the status is part of the object."""
    created = await api.create(DEVICES, device(twins={"power-status": "OFF"}))
    assert "status" not in created  # the API server has left it aside
    added = (await controller.said()).content["added_devices"][0]
    assert told(added) == {"power-status": "OFF"}
    await api.device(LED, lambda found: desired(found) == {"power-status": "OFF"})
    await quiet(api, controller)


async def test_property_of_which_nothing_is_desired(api: Api, controller: Controller) -> None:
    made = device(twins={"a": "1"})
    made["status"]["twins"].append({"propertyName": "b"})
    await api.create(DEVICES, made)
    assert told((await controller.said()).content["added_devices"][0]) == {"a": "1", "b": ""}
    found = await api.device(LED, lambda found: "twins" in found.get("status", {}))
    assert found["status"]["twins"] == [*twin_list({"a": "1"}), {"propertyName": "b"}]
    await apply(api, a="1", b="2")
    assert told((await controller.said()).content) == {"a": "1", "b": "2"}
    await api.device(LED, lambda found: desired(found) == {"a": "1", "b": "2"})


async def test_manifest_that_is_applied_again(api: Api, controller: Controller) -> None:
    await api.create(DEVICES, device(twins={"a": "1", "b": "1", "c": "1"}))
    await controller.said()
    await api.device(LED, lambda found: "a" in desired(found))
    await api.desire(LED, a="1", b="edited", c="1")
    await controller.said()
    await apply(api, a="2", b="1", d="3")
    found = await api.device(LED, lambda found: "d" in desired(found))
    # What the manifest has not changed stays as somebody has edited it.
    assert desired(found) == {"a": "2", "b": "edited", "d": "3"}
    changed = await controller.said()
    assert told(changed.content) == {"a": "2", "b": "edited", "c": "deleted", "d": "3"}
    await quiet(api, controller)


async def test_manifest_that_is_applied_while_nobody_looks(api: Api) -> None:
    await api.create(DEVICES, device(twins={"a": "1"}))
    async with running(api.settings) as controller:
        await controller.said()
        await api.device(LED, lambda found: desired(found) == {"a": "1"})
    await apply(api, a="2")
    async with running(api.settings) as controller:
        assert told((await controller.said()).content) == {"a": "2"}
        await api.device(LED, lambda found: desired(found) == {"a": "2"})


async def test_desired_values_set_by_hand_are_not_undone(api: Api) -> None:
    await api.create(DEVICES, device(twins={"a": "1"}))
    async with running(api.settings) as controller:
        await controller.said()
        await api.device(LED, lambda found: desired(found) == {"a": "1"})
        await api.desire(LED, a="by hand")
        await controller.said()
    async with running(api.settings) as controller:
        await quiet(api, controller)
    assert desired(await api.client.get(DEVICES, LED, "default")) == {"a": "by hand"}


async def test_without_a_status_subresource_the_object_says_it_all(
    api: Api, controller: Controller
) -> None:
    await api.set_status_subresource(False)
    await api.create(DEVICES, device(twins={"a": "1"}))
    assert told((await controller.said()).content["added_devices"][0]) == {"a": "1"}
    await apply(api, a="2")
    assert told((await controller.said()).content) == {"a": "2"}
    await quiet(api, controller)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"status": 1}', '{"status": {"twins": [1]}}'])
def test_annotation_of_somebody_elses(text: str) -> None:
    assert applied_to({"metadata": {"annotations": {LAST_APPLIED: text}}}) == {}


def test_difference() -> None:
    old, new = ({"a": {"value": "1"}, "b": {}}, {"a": {"value": "2"}, "c": {}})
    assert difference(old, new) == {"a": {"value": "2"}, "c": {}, "b": None}
    assert difference(old, old) == {}
    assert applied_to({"metadata": {}}) == {}
    manifest = manifests.applied({"metadata": {}, "status": {"twins": twin_list({"a": "1"})}})
    assert applied_to(manifest) == {"a": {"value": "1", "metadata": {"type": "string"}}}

"""Devices of v1beta1 in a fleet: what is to be at the edges that know them, and in the API.

A device whose model is not in the API may or may not be at its edge, and the model too: an edge
keeps what it had when the model was deleted, and gets no device without its model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from modules.common.kube import DEVICEMODELS_V1BETA1, DEVICES_V1BETA1, DEVICESTATUSES, Resource
from modules.hollow.edge import HollowEdge
from modules.hollow.manifests import PROPERTY
from modules.hollow.v1_23.devicetwin import DEVICE, MODEL, DeviceTwin

Json = dict[str, Any]

#: What there is of them in the API.
KINDS: Final[dict[str, Resource]] = {
    "todays_device": DEVICES_V1BETA1,
    "todays_model": DEVICEMODELS_V1BETA1,
}


def name_of(name: str) -> str:
    """Return the name of an object: both versions are in the same place of the API."""
    return f"today-{name}"


@dataclass
class Listed:
    """What the API has of devices of v1beta1, by `NAMESPACE/NAME`."""

    devices: dict[str, Json]
    models: dict[str, Json]
    statuses: dict[str, Json]

    @classmethod
    def of(cls, lists: dict[Resource, list[Json]]) -> Listed:
        """Sort the lists of the three resources; those of v1alpha1 are left out."""
        devices, models, statuses = (
            {
                _id(obj): obj
                for obj in lists[resource]
                if obj["metadata"]["name"].startswith("today-")
            }
            for resource in (DEVICES_V1BETA1, DEVICEMODELS_V1BETA1, DEVICESTATUSES)
        )
        return cls(devices, models, statuses)

    def of_node(self, node: str) -> dict[str, Json]:
        return {each: obj for each, obj in self.devices.items() if obj["spec"]["nodeName"] == node}

    def model_of(self, device: Json) -> tuple[str, Json | None]:
        """Return the id of a device's model, and the model if there is one."""
        model = f"default/{device['spec']['deviceModelRef']['name']}"
        return model, self.models.get(model)


def wanted(listed: Listed, node: str) -> Json:
    """Return what an edge is to have, without what it may or may not have."""
    wants: Json = {}
    for device_id, device in listed.of_node(node).items():
        wants[f"list/{device_id}"] = "listed"
        model_id, model = listed.model_of(device)
        if model:
            wants[f"{DEVICE}/{device_id}"] = wants[f"mapper/{device_id}"] = _essence(device)
            wants[f"{MODEL}/{model_id}"] = _essence(model)
    return wants


def present(listed: Listed, edge: HollowEdge) -> Json:
    """Return what an edge has, without what it may or may not have."""
    has: Json = {f"list/{device_id}": "listed" for device_id in edge.devices}
    for type_ in (DEVICE, MODEL):
        for found, obj in edge.store.of_type(type_).items():
            has[f"{type_}/{found}"] = _essence(obj)
    for device_id, device in _twin(edge).mapper.devices.items():
        has[f"mapper/{device_id}"] = _essence(device)
    for device_id, device in listed.of_node(edge.node).items():
        model_id, model = listed.model_of(device)
        if model is None:
            for key in (f"{DEVICE}/{device_id}", f"mapper/{device_id}", f"{MODEL}/{model_id}"):
                has.pop(key, None)
    return has


def differences_in_api(listed: Listed, edges: dict[str, HollowEdge]) -> Json:
    """Return how the DeviceStatuses differ from what the devices at the edges are."""
    found: Json = dict.fromkeys(
        listed.statuses.keys() - listed.devices.keys(), "a DeviceStatus without a Device"
    )
    for device_id, device in listed.devices.items():
        status = listed.statuses.get(device_id)
        if status is None:
            found[device_id] = "no DeviceStatus"
            continue
        owners = [each["uid"] for each in status["metadata"]["ownerReferences"]]
        if owners != [device["metadata"]["uid"]]:
            found[device_id] = f"the DeviceStatus of {owners}"
            continue
        values = _twin(edges[device["spec"]["nodeName"]]).mapper.values.get(device_id)
        if values is None or listed.model_of(device)[1] is None:
            continue  # it is not at its edge; if it is to be, that is another difference
        says = {
            "reported": values[PROPERTY],
            "observedDesired": device["spec"]["properties"][0]["desired"]["value"],
            "state": "online",
        }
        has = _reported(status)
        if has != says:
            found[device_id] = {"has": has, "wants": says}
    return found


def _reported(status: Json) -> Json:
    fields = status.get("status") or {}
    twin: Json = next(iter(fields.get("twins") or []), {})
    values = {key: twin.get(key, {}).get("value") for key in ("reported", "observedDesired")}
    return values | {"state": fields.get("state")}


def _twin(edge: HollowEdge) -> DeviceTwin:
    assert isinstance(edge.twin, DeviceTwin)
    return edge.twin


def _essence(obj: Json) -> Any:
    return obj["metadata"]["uid"], obj["spec"]


def _id(obj: Json) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"

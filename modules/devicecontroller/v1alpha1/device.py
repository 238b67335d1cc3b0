"""Reading Device and DeviceModel objects: devices.kubeedge.io/v1alpha1.

The shapes are those of cloud/pkg/apis/devices/v1alpha1; every field may be missing, as it may
be in Go, where some of what is missing ends the process.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from modules.common.kube import (
    DEVICES,
    Key,
    Object,
    check,
    is_name,
    key_of,
    reference,
    with_metadata,
)
from modules.devicecontroller.v1alpha1.kubectl_apply import (
    LAST_APPLIED,
    applied_to,
)
from modules.devicecontroller.v1alpha1.shapes import DEVICE, MODEL

#: Digits of a number that an edge can hold in 64 bits.
_MOST_DIGITS: Final = 18

#: The place of what is wrong with an applied manifest.
_APPLIED: Final = f"metadata.annotations[{LAST_APPLIED}]"

#: Of a node nothing but its name matters here.
_NAMED: Final = with_metadata(msgspec.defstruct("Object", []), namespaced=False)


class Desired(NamedTuple):
    """What the cloud wants a twin property to be."""

    value: str
    type: str


def label(obj: Object) -> str:
    """Name an object for people: `namespace/name`."""
    return "/".join(key_of(obj))


def version_of(obj: Object) -> int:
    """The resource version as the number that edges compare; 0 if it is not one, as in Go."""
    version: str = obj["metadata"].get("resourceVersion") or ""
    is_one = version.isascii() and version.isdecimal() and len(version) <= _MOST_DIGITS
    return int(version) if is_one else 0


def node_of(device: Object) -> str:
    """The node a device is bound to: the first value of the first expression of its selector.

    Empty if it names none, or one that cannot be part of a message's resource.
    """
    # Step by step, since the CRDs of KubeEdge 1.1 let anything pass here.
    found: Any = (device.get("spec") or {}).get("nodeSelector")
    for part in ("nodeSelectorTerms", "matchExpressions", "values"):
        listed = found.get(part) if isinstance(found, dict) else None
        if not isinstance(listed, list) or not listed:
            return ""
        found = listed[0]
    return found if isinstance(found, str) and is_name(found) else ""


def model_of(device: Object) -> Key:
    """The model a device refers to: a local reference, so in the device's own namespace."""
    reference = (device.get("spec") or {}).get("deviceModelRef") or {}
    return device["metadata"].get("namespace", ""), reference.get("name") or ""


def twins_of(device: Object) -> list[Object]:
    twins: list[Object] = (device.get("status") or {}).get("twins") or []
    return twins


def desired_of(device: Object) -> dict[str, Desired]:
    """The desired values by property; one that is not given is the empty string, as in Go."""
    return {twin["propertyName"]: _desired(twin.get("desired") or {}) for twin in twins_of(device)}


def _desired(twin_property: Object) -> Desired:
    metadata = twin_property.get("metadata") or {}
    return Desired(twin_property.get("value") or "", metadata.get("type") or "string")


def lost_reports(old: Object, new: Object) -> dict[str, Object]:
    """Find the `reported` of properties that the device still has, but without it.

    `kubectl apply` of a file with desired values does that: it replaces the list of twins.
    """
    former = {
        twin["propertyName"]: twin["reported"] for twin in twins_of(old) if "reported" in twin
    }
    without = (twin["propertyName"] for twin in twins_of(new) if "reported" not in twin)
    return {name: former[name] for name in without if name in former}


def keep_device(obj: Object) -> Object:
    """Cut a Device down to what this module uses, for the reflector's store.

    A device without twins has those of the manifest that was applied (`seeded`). BadObject if
    something in it is of a type that edges or mappers cannot decode.
    """
    check(obj, DEVICE)
    applied = applied_to(obj)
    twins = twins_of(obj)
    seeds = [_twin(name, desired) for name, desired in applied.items()]
    if seeds:
        check({"metadata": obj["metadata"], "status": {"twins": seeds}}, DEVICE, at=_APPLIED)
    kept = {
        "metadata": _metadata(obj, "description"),
        "spec": obj.get("spec") or {},
        "status": {
            "twins": twins or seeds,
            "conditions": (obj.get("status") or {}).get("conditions") or [],
        },
    }
    if applied:
        kept["applied"] = applied
        kept["seeded"] = not twins
    return kept


def _twin(name: str, desired: Object) -> Object:
    return {"propertyName": name, "desired": desired} if desired else {"propertyName": name}


def keep_model(obj: Object) -> Object:
    """Cut a DeviceModel down to what this module uses; BadObject as for a Device."""
    check(obj, MODEL)
    return {"metadata": _metadata(obj), "spec": obj.get("spec") or {}}


def keep_name(obj: Object) -> Object:
    """Cut a Node down to the fact that there is one of its name."""
    check(obj, _NAMED)
    metadata = obj["metadata"]
    # Always the same version: no change of a node is told.
    return {"metadata": {"name": metadata["name"], "resourceVersion": "", "uid": ""}}


def keep_conditions(obj: Any) -> Object:
    """Cut any Device, whatever is wrong with it, down to what a condition is written with."""
    status = obj.get("status") if isinstance(obj, dict) else None
    given = status.get("conditions") if isinstance(status, dict) else None
    conditions = (
        [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    )
    return {"metadata": reference(DEVICES, obj), "status": {"conditions": conditions}}


def conditions_of(device: Object) -> list[Object]:
    conditions: list[Object] = (device.get("status") or {}).get("conditions") or []
    return conditions


def _metadata(obj: Object, *labels: str) -> Object:
    metadata = obj["metadata"]
    fields = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
    kept = {field: metadata[field] for field in fields if field in metadata}
    given = metadata.get("labels") or {}
    if used := {name: given[name] for name in labels if name in given}:
        kept["labels"] = used
    return kept

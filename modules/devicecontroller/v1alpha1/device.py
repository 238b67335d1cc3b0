"""Reading Device and DeviceModel objects: devices.kubeedge.io/v1alpha1.

The shapes are those of cloud/pkg/apis/devices/v1alpha1. Every field may be missing, as in Go, where
a missing field can crash the process.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from modules.common.device_references import selected_node
from modules.common.kube import (
    DEVICEMODELS,
    DEVICES,
    Key,
    Object,
    check,
)
from modules.devicecontroller.compressed import CompressedDevice
from modules.devicecontroller.native import BETA, native_to
from modules.devicecontroller.v1alpha1.kubectl_apply import (
    LAST_APPLIED,
    applied_to,
)
from modules.devicecontroller.v1alpha1.shapes import DEVICE, MODEL

#: The path of a fault in an applied manifest.
_APPLIED: Final = f"metadata.annotations[{LAST_APPLIED}]"


_encode = msgspec.json.Encoder().encode


class Desired(NamedTuple):
    """The desired value of a twin property, and its type."""

    value: str
    type: str


def model_of(device: Object) -> Key:
    """The model a device refers to: a local reference, so in the device's own namespace."""
    if isinstance(device, CompressedDevice):
        return device["metadata"].get("namespace", ""), device.model
    reference = (device.get("spec") or {}).get("deviceModelRef") or {}
    return device["metadata"].get("namespace", ""), reference.get("name") or ""


def twins_of(device: Object) -> list[Object]:
    twins: list[Object] = (device.get("status") or {}).get("twins") or []
    return twins


def desired_of(device: Object) -> dict[str, Desired]:
    """Return the desired values by property; as in Go a missing one is the empty string."""
    return {twin["propertyName"]: _desired(twin.get("desired") or {}) for twin in twins_of(device)}


def _desired(twin_property: Object) -> Desired:
    metadata = twin_property.get("metadata") or {}
    return Desired(twin_property.get("value") or "", metadata.get("type") or "string")


def lost_reports(old: Object, new: Object) -> dict[str, Object]:
    """Return the reported values that were removed from properties the device still has.

    `kubectl apply` of a file with desired values does that: it replaces the list of twins.
    """
    former = {
        twin["propertyName"]: twin["reported"] for twin in twins_of(old) if "reported" in twin
    }
    without = (twin["propertyName"] for twin in twins_of(new) if "reported" not in twin)
    return {name: former[name] for name in without if name in former}


def keep_device(obj: Object) -> Object | None:
    """Reduce a Device to what this module uses, for the reflector's store; None for v1beta1.

    A device without twins gets those of the manifest that was applied (`seeded`). Raises BadObject
    if edges or mappers could not decode a field.
    """
    if native_to(DEVICES.plural, obj) == BETA:
        return None
    return keep_read(obj)


def keep_compressed(obj: Object) -> Object | None:
    """Reduce a Device as `keep_device` does, and compress it."""
    kept = keep_device(obj)
    return kept and _compress(kept)


def keep_read(obj: Object) -> Object:
    """Reduce a Device that is known to be of this version."""
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


def _compress(device: Object) -> CompressedDevice:
    made = CompressedDevice.of(
        device, node=selected_node(device), model=model_of(device)[1], digest=_digest(device)
    )
    if device.get("seeded"):
        made["seeded"] = True
    return made


def _digest(device: Object) -> str:
    """Return a digest of all but the values of a device's twins, its conditions and its version."""
    reported = [twin["propertyName"] for twin in twins_of(device) if "reported" in twin]
    rest = [device["spec"], device.get("applied"), reported]
    return hashlib.blake2b(_encode(rest), digest_size=16).hexdigest()


def keep_model(obj: Object) -> Object | None:
    """Reduce a DeviceModel to what this module uses; as for a Device."""
    if native_to(DEVICEMODELS.plural, obj) == BETA:
        return None
    check(obj, MODEL)
    return {"metadata": _metadata(obj), "spec": obj.get("spec") or {}}


def _metadata(obj: Object, *labels: str) -> Object:
    metadata = obj["metadata"]
    fields = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
    kept = {field: metadata[field] for field in fields if field in metadata}
    given = metadata.get("labels") or {}
    if used := {name: given[name] for name in labels if name in given}:
        kept["labels"] = used
    return kept

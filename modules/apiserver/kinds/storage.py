"""Rules of volumes, claims, attachments, and of the kinds of CSI drivers.

After pkg/apis/core/v1/defaults.go, pkg/apis/storage/v1/defaults.go and pkg/apis/storage/validation
of Kubernetes.
"""

from __future__ import annotations

from typing import Any, Final

from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import (
    Cause,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)

_IMMUTABLE: Final = "field is immutable"
_POLICIES: Final = ["Delete", "Retain"]
_BINDING_MODES: Final = ["Immediate", "WaitForFirstConsumer"]
_DRIVER_DEFAULTS: Final = {
    "attachRequired": True,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "podInfoOnMount": False,
    "requiresRepublish": False,
    "seLinuxMount": False,
    "storageCapacity": False,
}


def volume_defaults(volume: Json) -> None:
    spec = volume.get("spec")
    if isinstance(spec, dict):
        spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
        spec.setdefault("volumeMode", "Filesystem")


def claim_defaults(claim: Json) -> None:
    spec = claim.get("spec")
    if isinstance(spec, dict):
        spec.setdefault("volumeMode", "Filesystem")


def validate_attachment(attachment: Json) -> list[Cause]:
    return _required(attachment, "spec.attacher", "spec.nodeName")


def keep_attachment(new: Json, old: Json) -> list[Cause]:
    return _unchanged(new, old, "spec")


def class_defaults(storage_class: Json) -> None:
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


def validate_class(storage_class: Json) -> list[Cause]:
    causes = _required(storage_class, "provisioner")
    fields = (("reclaimPolicy", _POLICIES), ("volumeBindingMode", _BINDING_MODES))
    for field, allowed in fields:
        if storage_class[field] not in allowed:
            causes.append(not_supported(field, storage_class[field], allowed))
    return causes


def keep_class(new: Json, old: Json) -> list[Cause]:
    causes = [
        forbidden_field(field, f"updates to {field} are forbidden.")
        for field in ("parameters", "provisioner", "reclaimPolicy")
        if (new.get(field) or None) != (old.get(field) or None)
    ]
    return causes + _unchanged(new, old, "volumeBindingMode")


def driver_defaults(driver: Json) -> None:
    spec = driver.get("spec")
    if isinstance(spec, dict):
        for field, value in _DRIVER_DEFAULTS.items():
            spec.setdefault(field, value)
        spec.setdefault("volumeLifecycleModes", ["Persistent"])


def validate_driver(driver: Json) -> list[Cause]:
    return _required(driver, "spec")


def keep_driver(new: Json, old: Json) -> list[Cause]:
    return _unchanged(new, old, "spec.attachRequired", "spec.volumeLifecycleModes")


def validate_node(node: Json) -> list[Cause]:
    """Check a CSINode: each driver in it has a name and the node's id for it."""
    drivers = dig(node, "spec", "drivers")
    if drivers is not None and not isinstance(drivers, list):
        return [invalid_value("spec.drivers", drivers, "must be an array")]
    return [
        required(f"spec.drivers[{index}].{field}")
        for index, driver in enumerate(drivers or ())
        for field in ("name", "nodeID")
        if not dig(driver, field)
    ]


def _required(obj: Json, *fields: str) -> list[Cause]:
    return [required(field) for field in fields if not _at(obj, field)]


def _unchanged(new: Json, old: Json, *fields: str) -> list[Cause]:
    return [
        invalid_value(field, _at(new, field), _IMMUTABLE)
        for field in fields
        if _at(new, field) != _at(old, field)
    ]


def _at(obj: Json, field: str) -> Any:
    return dig(obj, *field.split("."))

"""Columns of volumes, claims and attachments, of their classes and drivers."""

from __future__ import annotations

from modules.apiserver.columns.cells import AGE, NAME, UNKNOWN, Column, text
from modules.apiserver.meta.objects import Json, dig

#: Either says that a StorageClass is the default one (pkg/apis/storage/util/helpers.go).
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(modes: list[str] | None) -> str:
    return ",".join(_SHORT_MODES.get(mode, mode) for mode in modes or ())


def _status(obj: Json) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return str(dig(obj, "status", "phase") or "")


def _claim(volume: Json) -> str:
    claim = dig(volume, "spec", "claimRef")
    return f"{claim.get('namespace')}/{claim.get('name')}" if claim else ""


def _class_name(storage_class: Json) -> str:
    metadata = storage_class["metadata"]
    annotations = metadata.get("annotations") or {}
    is_default = any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)
    return f"{metadata['name']} (default)" if is_default else str(metadata["name"])


def _audiences(driver: Json) -> str:
    requests = dig(driver, "spec", "tokenRequests") or ()
    return ",".join(str(each.get("audience", "")) for each in requests) or "<unset>"


def _flag(field: str) -> Column:
    return Column(
        field[0].upper() + field[1:], lambda obj: bool(dig(obj, "spec", field)), "boolean"
    )


PERSISTENTVOLUMES = (
    NAME,
    Column("Capacity", text("spec", "capacity", "storage")),
    Column("Access Modes", lambda obj: _modes(dig(obj, "spec", "accessModes"))),
    Column("Reclaim Policy", text("spec", "persistentVolumeReclaimPolicy")),
    Column("Status", _status),
    Column("Claim", _claim),
    Column("StorageClass", text("spec", "storageClassName")),
    Column("Reason", text("status", "reason")),
    AGE,
    Column("VolumeMode", text("spec", "volumeMode", default="<unset>"), wide=True),
)

PERSISTENTVOLUMECLAIMS = (
    NAME,
    Column("Status", _status),
    Column("Volume", text("spec", "volumeName")),
    Column("Capacity", text("status", "capacity", "storage")),
    Column("Access Modes", lambda obj: _modes(dig(obj, "status", "accessModes"))),
    Column("StorageClass", text("spec", "storageClassName", default="<unset>")),
    AGE,
    Column("VolumeMode", text("spec", "volumeMode", default="<unset>"), wide=True),
)

VOLUMEATTACHMENTS = (
    NAME,
    Column("Attacher", text("spec", "attacher")),
    Column("PV", text("spec", "source", "persistentVolumeName", default=UNKNOWN)),
    Column("Node", text("spec", "nodeName")),
    Column("Attached", lambda obj: bool(dig(obj, "status", "attached")), "boolean"),
    AGE,
)

STORAGECLASSES = (
    Column("Name", _class_name, format="name"),
    Column("Provisioner", text("provisioner")),
    Column("ReclaimPolicy", text("reclaimPolicy")),
    Column("VolumeBindingMode", text("volumeBindingMode")),
    Column("AllowVolumeExpansion", lambda obj: bool(obj.get("allowVolumeExpansion")), "boolean"),
    AGE,
)

CSIDRIVERS = (
    NAME,
    _flag("attachRequired"),
    _flag("podInfoOnMount"),
    _flag("storageCapacity"),
    Column("TokenRequests", _audiences),
    _flag("requiresRepublish"),
    Column("Modes", lambda obj: ",".join(dig(obj, "spec", "volumeLifecycleModes") or ())),
    AGE,
)

CSINODES = (
    NAME,
    Column("Drivers", lambda obj: len(dig(obj, "spec", "drivers") or ()), "integer"),
    AGE,
)

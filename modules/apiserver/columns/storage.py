"""Columns of persistent volumes, their claims and attachments."""

from __future__ import annotations

from modules.apiserver.columns.cells import AGE, NAME, UNKNOWN, Column, text
from modules.apiserver.meta.objects import Json, dig

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

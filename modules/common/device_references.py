"""The node and the model that a device names, in either API version."""

from __future__ import annotations

from typing import Any, Final

from modules.common.kube import Key, Object, is_name

#: The types of devices of v1beta1 and of their models, in the resource of a message and in records.
DEVICE_TYPE: Final = "device"
MODEL_TYPE: Final = "devicemodel"


def node_of(device: Object) -> str:
    """Return the node of a device of v1beta1; empty if it names none."""
    node: str = (device.get("spec") or {}).get("nodeName") or ""
    return node


def model_of(device: Object) -> Key | None:
    """Return the model that a device of v1beta1 names, which is in its own namespace."""
    name = ((device.get("spec") or {}).get("deviceModelRef") or {}).get("name")
    return (device["metadata"]["namespace"], name) if name else None


def selected_node(device: Object) -> str:
    """Return the node of a device of v1alpha1: the first value of its selector's first expression.

    Empty if it names none, or one that cannot be part of a message's resource.
    """
    # Field by field, since the CRDs of KubeEdge 1.1 validate nothing here.
    found: Any = (device.get("spec") or {}).get("nodeSelector")
    for part in ("nodeSelectorTerms", "matchExpressions", "values"):
        listed = found.get(part) if isinstance(found, dict) else None
        if not isinstance(listed, list) or not listed:
            return ""
        found = listed[0]
    return found if isinstance(found, str) and is_name(found) else ""

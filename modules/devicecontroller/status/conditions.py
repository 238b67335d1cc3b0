"""The conditions in the status of any Device, even a malformed one."""

from __future__ import annotations

from typing import Any

from modules.common.kube import Object, Resource, key_of, reference


def label(obj: Object) -> str:
    """Return `namespace/name`, for people."""
    return "/".join(key_of(obj))


def keep_conditions(resource: Resource, obj: Any) -> Object:
    """Reduce any Device, even a malformed one, to what writing a condition needs."""
    status = obj.get("status") if isinstance(obj, dict) else None
    given = status.get("conditions") if isinstance(status, dict) else None
    conditions = (
        [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    )
    return {"metadata": reference(resource, obj), "status": {"conditions": conditions}}


def conditions_of(device: Object) -> list[Object]:
    conditions: list[Object] = (device.get("status") or {}).get("conditions") or []
    return conditions

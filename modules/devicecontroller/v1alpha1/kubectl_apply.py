"""Desired values that `kubectl apply` has sent and the API server has dropped.

KubeEdge's examples have them in `status.twins` of the manifest. The CRD has a status subresource,
so an API server ignores the status of an object that is applied. But kubectl keeps the manifest in
an annotation: from there a device without twins gets its first ones, and changes of a manifest
that is applied again are copied into the status.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ipc.message import DECODING_ERRORS

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

Desired = dict[str, dict[str, Any]]
"""`desired` by property; empty for a property without a desired value"""


class _Twin(msgspec.Struct):
    name: str = msgspec.field(name="propertyName")
    desired: dict[str, Any] | None = None


class _Status(msgspec.Struct):
    twins: list[_Twin] | None = None


class _Applied(msgspec.Struct):
    status: _Status | None = None


_decode = msgspec.json.Decoder(_Applied).decode


def applied_to(obj: dict[str, Any]) -> Desired:
    """Return the desired values of the manifest that was last applied; empty without one."""
    text = (obj["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        status = _decode(text).status
    except DECODING_ERRORS:
        return {}  # somebody else has overwritten the annotation
    twins = (status.twins if status else None) or []
    return {twin.name: twin.desired or {} for twin in twins}


def difference(old: Desired, new: Desired) -> dict[str, dict[str, Any] | None]:
    """Return the values that differ in the new manifest; None for a property it has dropped."""
    changed = {name: desired for name, desired in new.items() if old.get(name) != desired}
    return changed | dict.fromkeys(old.keys() - new.keys())

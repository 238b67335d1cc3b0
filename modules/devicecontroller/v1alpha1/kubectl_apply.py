"""Desired values that `kubectl apply` sent and the API server dropped.

KubeEdge's examples have them in `status.twins` of the object that people apply. The CRD has a
status subresource, so an API server leaves the status of such an object aside. But kubectl keeps
what was applied in an annotation: from there a device without twins gets its first ones, and
what is changed or dropped in a manifest that is applied again is carried into the status.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ipc.message import DECODING_ERRORS

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

Desired = dict[str, dict[str, Any]]
"""`desired` by property; empty for a property of which nothing is desired"""


class _Twin(msgspec.Struct):
    name: str = msgspec.field(name="propertyName")
    desired: dict[str, Any] | None = None


class _Status(msgspec.Struct):
    twins: list[_Twin] | None = None


class _Applied(msgspec.Struct):
    status: _Status | None = None


_decode = msgspec.json.Decoder(_Applied).decode


def applied_to(obj: dict[str, Any]) -> Desired:
    """Read the desired values of the manifest that was last applied; empty if none are known."""
    text = (obj["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        status = _decode(text).status
    except DECODING_ERRORS:
        return {}  # what kubectl has written is somebody else's by now
    twins = (status.twins if status else None) or []
    return {twin.name: twin.desired or {} for twin in twins}


def difference(old: Desired, new: Desired) -> dict[str, dict[str, Any] | None]:
    """Return what a manifest says anew; None for a property that it no longer has."""
    changed = {name: desired for name, desired in new.items() if old.get(name) != desired}
    return changed | dict.fromkeys(old.keys() - new.keys())

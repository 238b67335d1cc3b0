"""Which API version a Device or DeviceModel was written in.

An API server keeps the objects of all versions of a CRD in one place, and serves each of them in
every version, so that a device of v1alpha1 is also a strange one of v1beta1. Edges know only one
version. What an object was written in is seen by its fields.
"""

from __future__ import annotations

from typing import Any, Final

#: The versions, and what may be either.
ALPHA: Final = "v1alpha1"
BETA: Final = "v1beta1"
EITHER: Final = ""

_OF_DEVICES: Final = (
    (ALPHA, ("nodeSelector",)),
    (BETA, ("nodeName", "properties", "methods", "stateReport")),
)
_PROTOCOLS: Final = (
    (BETA, ("protocolName", "configData")),
    (ALPHA, ("opcua", "modbus", "bluetooth")),
)

#: The types of properties in models of v1beta1.
_TYPES: Final = ("INT", "FLOAT", "DOUBLE", "STRING", "BOOLEAN", "BYTES", "STREAM")


def native_to(plural: str, obj: Any) -> str:
    """Return the version that an object was written in, EITHER if that cannot be seen."""
    spec = _dict(obj).get("spec")
    if plural == "devicemodels":
        return _of_model(_dict(spec))
    found = _first(_OF_DEVICES, spec) or _first(_PROTOCOLS, _dict(spec).get("protocol"))
    return found or _of_status(_dict(_dict(obj).get("status")))


def _of_model(spec: dict[str, Any]) -> str:
    if "propertyVisitors" in spec:
        return ALPHA
    if "protocol" in spec or "protocolConfigData" in spec:
        return BETA
    for each in _list(spec.get("properties")):
        fields = _dict(each)
        if isinstance(fields.get("type"), dict):
            return ALPHA
        if fields.get("type") in _TYPES or "accessMode" in fields:
            return BETA
    return EITHER


def _of_status(status: dict[str, Any]) -> str:
    """Only v1alpha1 has desired values in the status."""
    twins = map(_dict, _list(status.get("twins")))
    return ALPHA if any("desired" in twin for twin in twins) else EITHER


def _first(signs: tuple[tuple[str, tuple[str, ...]], ...], given: Any) -> str:
    fields = _dict(given)
    return next((version for version, names in signs if fields.keys() & set(names)), EITHER)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

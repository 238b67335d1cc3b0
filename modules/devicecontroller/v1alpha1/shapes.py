"""The types of all fields of Device and DeviceModel, from the schemas of their CRDs.

KubeEdge's own CRDs have no schemas, and the embedded API server does not validate. An object that
an edge or a mapper cannot decode would make the node's whole list of devices unusable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from modules.common.crds import manifests
from modules.common.kube import DEVICES, INT64, with_metadata

_SCALARS: Final[dict[str, Any]] = {
    "boolean": bool,
    "integer": INT64,
    "number": int | float,
    "string": str,
}

_EXCEPTIONS: Final[dict[str, Any]] = {
    # Read field by field: a device that names no node gets the condition NoNode.
    "nodeSelector": Any,
    # Written by this module, and not sent to any node.
    "reported": dict[str, Any],
    # Go's []byte: base64, or numbers as people write it.
    "dataWrite": dict[str, list[Annotated[int, msgspec.Meta(ge=0, le=255)]] | bytes | None],
}


def _shape(plural: str) -> type[msgspec.Struct]:
    """Return the shape of a kind, from its CRD; the schema of metadata is empty."""
    versions = manifests.load(plural)["spec"]["versions"]
    version = next(each for each in versions if each["name"] == DEVICES.version)
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"].pop("metadata")
    return with_metadata(_struct(plural, schema), namespaced=True)


def _type(name: str, schema: dict[str, Any]) -> Any:
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    if schema["type"] == "array":
        keys = schema.get("x-kubernetes-list-map-keys", ())
        items = schema["items"]
        return list[_struct(name, items, keys) if keys else _type("", items)]  # type: ignore[misc]
    if "properties" in schema:
        return _struct(name, schema)
    if "additionalProperties" in schema:
        return dict[str, _type("", schema["additionalProperties"]) | None]  # type: ignore[misc]
    return _SCALARS[schema["type"]]


def _struct(
    name: str, schema: dict[str, Any], required: Iterable[str] = ()
) -> type[msgspec.Struct]:
    """Return the type of an object. As in Go only the keys of list items are required."""
    fields = {field: _type(field, about) for field, about in schema["properties"].items()}
    made: list[Any] = [(field, fields.pop(field)) for field in required]
    made += [(field, type_ | None, None) for field, type_ in fields.items()]
    return msgspec.defstruct(name or "object", made, gc=False)


# Built on import, which the supervisor does once, before it forks the module's processes.
DEVICE: Final = _shape("devices")
MODEL: Final = _shape("devicemodels")

"""The shapes of Devices and DeviceModels: those of their CRDs' schemas.

An API server with KubeEdge's own CRDs, which have no such schemas, and the embedded one hand out
anything. What an edge or a mapper cannot decode would keep all other devices of its node from it.
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
    # Read step by step: a device that names no node is told so.
    "nodeSelector": Any,
    # Written by this module, and told to nobody.
    "reported": dict[str, Any],
    # Go's []byte: base64, or numbers as people write it.
    "dataWrite": dict[str, list[Annotated[int, msgspec.Meta(ge=0, le=255)]] | bytes | None],
}


def _shape(plural: str) -> type[msgspec.Struct]:
    """Make the shape of a kind of its CRD; a schema's metadata says nothing."""
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
    """Make a type of an object; only the keys of a list are required of its items, as in Go."""
    fields = {field: _type(field, about) for field, about in schema["properties"].items()}
    made: list[Any] = [(field, fields.pop(field)) for field in required]
    made += [(field, type_ | None, None) for field, type_ in fields.items()]
    return msgspec.defstruct(name or "object", made, gc=False)


# Made when this is imported, which the supervisor does once for all lives of the module.
DEVICE: Final = _shape("devices")
MODEL: Final = _shape("devicemodels")

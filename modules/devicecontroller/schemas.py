"""The types of all fields of a custom resource, from the schema of its CRD.

KubeEdge's own CRDs of v1alpha1 have no schemas, and the embedded API server does not validate. An
object that an edge or a mapper cannot decode would make the node's whole list of devices unusable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from modules.common.crds import manifests
from modules.common.kube import INT32, INT64, Resource, with_metadata

_SCALARS: Final[dict[str, Any]] = {
    "boolean": bool,
    "integer": INT64,
    "number": int | float,
    "string": str,
}


def shape_by_schema(resource: Resource, exceptions: Mapping[str, Any]) -> type[msgspec.Struct]:
    """Return the shape of a kind; the schema of metadata is empty.

    `exceptions` are types of fields by name, in place of those of the schema.
    """
    versions = manifests.load(resource.plural)["spec"]["versions"]
    version = next(each for each in versions if each["name"] == resource.version)
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"].pop("metadata")
    shape = _Reader(exceptions).struct(resource.kind, schema)
    return with_metadata(shape, namespaced=resource.namespaced)


class _Reader:
    def __init__(self, exceptions: Mapping[str, Any]) -> None:
        self._exceptions = exceptions

    def _type(self, name: str, schema: dict[str, Any]) -> Any:
        if name in self._exceptions:
            return self._exceptions[name]
        if "properties" in schema:
            return self.struct(name, schema)
        if "additionalProperties" in schema:
            inner = self._type("", schema["additionalProperties"]) | None
            return dict[str, inner]  # type: ignore[valid-type]
        if schema.get("x-kubernetes-preserve-unknown-fields") or schema["type"] == "object":
            return dict[str, Any]
        if schema["type"] == "array":
            keys = schema.get("x-kubernetes-list-map-keys", ())
            items = schema["items"]
            inner = self.struct(name, items, keys) if keys else self._type("", items)
            return list[inner]  # type: ignore[valid-type]
        return INT32 if schema.get("format") == "int32" else _SCALARS[schema["type"]]

    def struct(
        self, name: str, schema: dict[str, Any], required: Iterable[str] = ()
    ) -> type[msgspec.Struct]:
        """Return the type of an object. As in Go only the keys of list items are required."""
        fields = {field: self._type(field, about) for field, about in schema["properties"].items()}
        made: list[Any] = [(field, fields.pop(field)) for field in required]
        made += [(field, type_ | None, None) for field, type_ in fields.items()]
        return msgspec.defstruct(name or "object", made, gc=False)

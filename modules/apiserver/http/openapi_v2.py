"""/openapi/v2: the schemas of the built-in kinds, with which kubectl validates objects.

kubectl looks for unknown fields and wrong types itself if a server does not announce that it
does (`fieldValidation`). It reads the document in protobuf only: openapi.v2.Document of
github.com/google/gnostic-models. The schemas are those of lightkube-models, which are generated
from Kubernetes' own document; merge keys, which they lack, are added (kubectl up to 1.26 makes its
patches from them). Required fields are not marked: the server checks them after its defaults.
Custom resources and CRDs, which the server validates, are left out: kubectl accepts any field of
a kind that is not in the document.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from modules.apiserver.catalog import Resource
from modules.apiserver.http.protobuf import bytes_field
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.kinds.mergekeys import COMMON
from modules.apiserver.meta.objects import Json

MEDIA_TYPES: Final = (
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)
_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    dt.datetime: "string",
}
# The only list with `retainKeys`: its items keep only those fields that a patch names.
_RETAIN_KEYS: Final = {("PodSpec", "volumes")}
_UNCHECKED: Final = {"CustomResourceDefinition"}

Model = type[msgspec.Struct]


@functools.cache
def definitions() -> Json:
    """Return the `definitions` of a Swagger 2.0 document."""
    found: dict[Model, Json] = {}
    for resource in BUILTIN:
        model = _model(resource)
        if model is not None:
            _collect(model, found)
            _add_kind(found[model], resource)
            _add_merging(model, {**COMMON, **resource.merge_keys}, found)
    return {_name(model): schema for model, schema in found.items()}


def _model(resource: Resource) -> Model | None:
    if resource.kind in _UNCHECKED:
        return None
    group = resource.group.partition(".")[0] or "core"
    module = importlib.import_module(f"lightkube.models.{group}_{resource.version}")
    model: Model = getattr(module, resource.kind)
    return model


def _name(model: Model) -> str:
    return f"{model.__module__.removeprefix('lightkube.models.')}.{model.__name__}"


def _collect(model: Model, found: dict[Model, Json]) -> None:
    """Add the schema of a model and of all models that it refers to."""
    if model in found:
        return
    fields = msgspec.structs.fields(model)
    schema: Json = {"type": "object", "properties": {}}
    found[model] = schema
    for field in fields:
        schema["properties"][field.encode_name] = _schema(field.type)
        for inner in _models_in(field.type):
            _collect(inner, found)


def _schema(type_: Any) -> Json:
    kinds = _without_none(type_)
    if len(kinds) > 1:  # an integer or a string
        return {"type": "string", "format": "int-or-string"}
    (kind,) = kinds
    if typing.get_origin(kind) is list:
        return {"type": "array", "items": _schema(typing.get_args(kind)[0])}
    if typing.get_origin(kind) is dict:
        return {"type": "object"}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {"$ref": f"#/definitions/{_name(kind)}"}
    return {"type": _TYPES[kind]} if kind in _TYPES else {}


def _without_none(type_: Any) -> list[Any]:
    if typing.get_origin(type_) in (typing.Union, types.UnionType):
        return [kind for kind in typing.get_args(type_) if kind is not type(None)]
    return [type_]


def _models_in(type_: Any) -> Iterator[Model]:
    for kind in _without_none(type_):
        inner = typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield inner


def _add_kind(schema: Json, resource: Resource) -> None:
    schema["x-kubernetes-group-version-kind"] = [
        {"group": resource.group, "version": resource.version, "kind": resource.kind}
    ]


def _add_merging(
    top: Model, merge_keys: Mapping[tuple[str, ...], str], found: dict[Model, Json]
) -> None:
    """Add the merge key and strategy to each list that strategic merge patches merge."""
    for path, key in merge_keys.items():
        model: Model | None = top
        for step in path[:-1]:
            model = None if model is None else _inside(model, step)
        properties = found[model]["properties"] if model is not None else {}
        if model is None or path[-1] not in properties:
            continue
        retain = (model.__name__, path[-1]) in _RETAIN_KEYS
        listed = properties[path[-1]]
        listed["x-kubernetes-patch-strategy"] = "merge,retainKeys" if retain else "merge"
        if key:
            listed["x-kubernetes-patch-merge-key"] = key


def _inside(model: Model, name: str) -> Model | None:
    for field in msgspec.structs.fields(model):
        if field.encode_name == name:
            return next(_models_in(field.type), None)
    return None


@functools.cache
def document(title: str, version: str) -> bytes:
    """Return the document in protobuf."""
    named = (_named(name, schema) for name, schema in definitions().items())
    return b"".join(
        (
            _text(1, "2.0"),
            bytes_field(2, _text(1, title) + _text(2, version)),
            bytes_field(8, b""),
            bytes_field(9, _joined(1, named)),
        )
    )


def _named(name: str, schema: Json) -> bytes:
    return _text(1, name) + bytes_field(2, _encoded(schema))


def _encoded(schema: Json) -> bytes:
    """Encode a Schema; the numbers are those of OpenAPIv2.proto."""
    parts: list[bytes] = []
    for key, value in schema.items():
        match key:
            case "$ref":
                parts.append(_text(1, value))
            case "format":
                parts.append(_text(2, value))
            case "type":
                parts.append(bytes_field(22, _text(1, value)))
            case "items":
                parts.append(bytes_field(23, bytes_field(1, _encoded(value))))
            case "properties":
                named = (_named(name, inner) for name, inner in value.items())
                parts.append(bytes_field(25, _joined(1, named)))
            case _:  # an extension, as YAML
                parts.append(
                    bytes_field(31, _text(1, key) + bytes_field(2, _text(2, json.dumps(value))))
                )
    return b"".join(parts)


def _joined(number: int, messages: Iterable[bytes]) -> bytes:
    return b"".join(bytes_field(number, message) for message in messages)


def _text(number: int, value: str) -> bytes:
    return bytes_field(number, value.encode())

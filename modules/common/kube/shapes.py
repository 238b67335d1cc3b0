"""The shapes of Kubernetes objects: the field types that Go can decode, and so an edge.

kube-apiserver returns no other objects, but the embedded API server does not validate all fields,
nor does any API server for a custom resource without a schema. An edge decodes a list of objects as
a whole: one object that Go cannot decode would make it lose the list.

The types of the built-in kinds are in shapes.txt, one per line: a name, then `field:type`.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ipc import MAX_PAYLOAD
from ipc.message import ENCODING_ERRORS, encode_message
from modules.common.kube.kinds import Resource

#: A name that is valid in a URL path (IsValidPathSegmentName) and in a message's resource.
_NAME: Final = r"^(?!\.{1,2}\Z)[^/%]{1,253}\Z"
Name = Annotated[str, Meta(pattern=_NAME)]

#: Bytes of an object in a message of a channel; the rest is for the other fields.
MOST_BYTES: Final = MAX_PAYLOAD - 4096

INT32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
INT64 = Annotated[int, Meta(ge=-(2**63) + 1, le=2**63 - 1)]

_QUANTITY: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?\Z"

_SCALARS: Final[dict[str, Any]] = {
    "boolean": bool,
    "bytes": bytes,  # in base64, as in Go
    "int32": INT32,
    "int64": INT64,
    "name": Name,
    "intOrString": INT32 | str,
    "quantity": int | float | Annotated[str, Meta(pattern=_QUANTITY)],
    "string": str,
    "time": Annotated[datetime, Meta(tz=True)],
}

#: The types of msgspec, in the terms of JSON.
_TYPES: Final = {
    "array": "an array",
    "bool": "a boolean",
    "float": "a number",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}

#: Problems that are described better than by their pattern.
_PATTERNS: Final = {
    repr(_NAME): "expected a name: 1 to 253 characters, none of them / or %",
    repr(_QUANTITY): "expected a quantity, such as 500m or 10Mi",
}

_TYPE: Final = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


_is_name: Final = re.compile(_NAME).match


class BadObject(ValueError):
    """An object that cannot be used: the path of the invalid field, and the problem with it.

    The path is empty if the problem is with the object as a whole.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


def check(obj: Any, shape: Any, at: str = "") -> None:
    """Raise BadObject unless an object, or the part `at` a path, has a shape and fits a message."""
    try:
        msgspec.convert(obj, shape)
        size = len(encode_message(obj))
    except msgspec.ValidationError as error:
        raise bad_object(error, at) from error
    except ENCODING_ERRORS as error:
        raise BadObject("", f"it cannot be put into a message: {error}") from error
    if size > MOST_BYTES:
        raise BadObject("", f"it has {size} bytes; a message carries up to {MOST_BYTES}")


def is_name(text: str) -> bool:
    """Whether an object can have this name."""
    return _is_name(text) is not None


def bad_object(error: Exception, at: str = "") -> BadObject:
    """Convert an error of msgspec: "Expected `object`, got `str` - at `$.spec.a[0]`"."""
    problem, _, path = str(error).partition(" - at `$")
    path = f"{at}{path.rstrip('`')}".lstrip(".")
    if missing := _MISSING.match(problem):
        path = f"{path}.{missing[1]}".lstrip(".")
        return BadObject(path, "is missing")
    for pattern, words in _PATTERNS.items():
        if pattern in problem:
            return BadObject(path, words)
    problem = _TYPE.sub(_plain, problem).replace("`", "")
    return BadObject(path, problem[:1].lower() + problem[1:] if problem[1:2].islower() else problem)


def _plain(types: re.Match[str]) -> str:
    """Return types in words; that null is allowed too is of no help to who gave something else."""
    names = types[1].split(" | ")
    if "float" in names and "int" in names:
        names.remove("int")
    if len(names) > 1 and "null" in names:
        names.remove("null")
    return " or ".join(_TYPES.get(name, name) for name in names)


@cache
def shape_of(resource: Resource) -> type[msgspec.Struct]:
    """Return the shape of a built-in kind."""
    return with_metadata(part(resource.kind), namespaced=resource.namespaced)


@cache
def any_shape() -> type[msgspec.Struct]:
    """Return the shape of an object of any kind of which the metadata alone matters."""
    return with_metadata(msgspec.defstruct("Object", []), namespaced=False)


@cache
def part(name: str) -> type[msgspec.Struct]:
    """Return the shape of a part of an object, such as PodStatus."""
    return _struct(name, types()[name])


def with_metadata(shape: type[msgspec.Struct], *, namespaced: bool) -> type[msgspec.Struct]:
    """Add the metadata that a message needs: a name, and a namespace if there is one."""
    fields = types()["ObjectMeta"] | {"name": "name", "namespace": "name"}
    required = ("name", "namespace") if namespaced else ("name",)
    metadata = _struct("Metadata", fields, required=required)
    return msgspec.defstruct(
        shape.__name__, [("metadata", metadata)], bases=(shape,), kw_only=True, gc=False
    )


def _struct(
    name: str, fields: dict[str, str], *, required: tuple[str, ...] = ()
) -> type[msgspec.Struct]:
    """Return a type; fields that are not required may be null, as in Go."""
    made: list[Any] = [(field, _type(fields[field])) for field in required]
    made += [
        (field, _type(type_) | None, None)
        for field, type_ in fields.items()
        if field not in required
    ]
    return msgspec.defstruct(name, made, gc=False)


def _type(text: str) -> Any:
    if text.startswith("[]"):
        return list[_type(text[2:])]  # type: ignore[misc]
    if text.startswith("{}"):
        return dict[str, _type(text[2:]) | None]  # type: ignore[misc]
    return _SCALARS.get(text) or part(text)


@cache
def types() -> dict[str, dict[str, str]]:
    """Read the table: the types of the fields, by the name of their type."""
    found = {}
    for line in Path(__file__).with_name("shapes.txt").read_text().splitlines():
        name, *fields = line.split(" ")
        found[name] = dict(field.split(":") for field in fields)
    return found

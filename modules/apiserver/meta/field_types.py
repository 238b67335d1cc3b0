"""Type checks of the fields of a client's object, as Go's decoder makes them.

A shape is "string", "boolean", "number", "integer" or "anything"; a dict with a shape for each
known field (unknown fields are allowed); a List or a Map with items of one shape. A field may be
`null`, which means that it is absent, as in Go; an item of a list or a map may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from modules.apiserver.meta.numbers import is_int64
from modules.apiserver.meta.status import Cause, invalid_value, short

Shape = Any  # recursive: str | dict[str, Shape] | List | Map | OneOf


@dataclass(frozen=True)
class List:
    """The shape of a list whose items all have the same shape."""

    item: Shape


@dataclass(frozen=True)
class Map:
    """The shape of an object with any keys, whose values all have the same shape."""

    value: Shape


@dataclass(frozen=True)
class OneOf:
    """The shape of a boolean or something else, as for `additionalProperties`."""

    other: Shape


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and is_int64(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_SCALARS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "string": ("a string", lambda value: isinstance(value, str)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "integer": ("an integer", _is_integer),
    "number": ("a number", _is_number),
    "anything": ("anything", lambda _: True),
}


def faults(value: Any, shape: Shape, path: str = "") -> Iterator[Cause]:
    """Yield a Cause for each field of `value` that does not have the type given by `shape`."""
    match shape:
        case str():
            name, fits = _SCALARS[shape]
            if not fits(value):
                yield _wrong(path, value, name)
        case OneOf():
            if not isinstance(value, bool):
                yield from faults(value, shape.other, path)
        case List():
            if not isinstance(value, list):
                yield _wrong(path, value, "a list")
                return
            for index, item in enumerate(value):
                yield from faults(item, shape.item, f"{path}[{index}]")
        case Map():
            if not isinstance(value, dict):
                yield _wrong(path, value, "an object")
                return
            for key, item in value.items():
                yield from faults(item, shape.value, f"{path}[{short(key)}]")
        case _:
            if not isinstance(value, dict):
                yield _wrong(path, value, "an object")
                return
            for key, known in shape.items():
                if value.get(key) is not None:
                    yield from faults(value[key], known, f"{path}.{key}" if path else key)


def _wrong(path: str, value: Any, wanted: str) -> Cause:
    return invalid_value(path, value, f"must be {wanted}")

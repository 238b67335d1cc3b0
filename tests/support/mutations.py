"""Whole objects, and every field of them made something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modules.common.kube import Resource, shapes

Object = dict[str, Any]
Path = tuple[str | int, ...]

MISSING: Final = object()

#: Every type of JSON, empty and not, and what is large or deep.
VALUES: Final[tuple[Any, ...]] = (
    MISSING,
    None,
    True,
    3,
    2.5,
    10**30,
    "text",
    "",
    "a/b",
    [],
    [3],
    ["text"],
    [None],
    [{}],
    {},
    {"a": 3},
    {"a": {}},
)


def deep(levels: int = 500) -> Any:
    """Make a value that is nested so many times."""
    value: Any = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


#: Rare values, for which a few fields do: 17 MiB, more than a channel carries, and deep ones.
HUGE: Final[tuple[Any, ...]] = ("x" * (17 << 20), ["y" * 1000] * 20_000, deep())

_SAMPLES: Final[dict[str, Any]] = {
    "boolean": True,
    "bytes": "dg==",
    "int32": 1,
    "int64": 1,
    "intOrString": 80,
    "quantity": "1Gi",
    "string": "sample",
    "time": "2026-01-02T03:04:05Z",
}


def whole(resource: Resource, **metadata: Any) -> Object:
    """Make an object that has every field of its kind."""
    obj: Object = sample(resource.kind)
    obj["metadata"] |= {"name": "whole", "uid": "u-whole", "resourceVersion": "1", **metadata}
    for gone in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        obj["metadata"].pop(gone)
    return obj


def places(obj: Any, path: Path = ()) -> Iterator[Path]:
    """Give the paths of all that is in an object; of like things in several places, one."""
    seen: set[tuple[Any, ...]] = set()
    yield from _places(obj, path, seen)


def _places(value: Any, path: Path, seen: set[tuple[Any, ...]]) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, list):
        members: list[tuple[str | int, Any]] = list(enumerate(value))
    elif isinstance(value, dict):
        like = tuple(sorted(value))
        if like in seen and len(path) > 2:
            return
        seen.add(like)
        members = list(value.items())
    else:
        return
    for name, member in members:
        yield from _places(member, (*path, name), seen)


def sample(type_: str) -> Any:
    """Make a value of a type of the table, with everything that can be in it."""
    if type_.startswith("[]"):
        return [sample(type_[2:])]
    if type_.startswith("{}"):
        return {"key": sample(type_[2:])}
    if type_ in _SAMPLES:
        return _SAMPLES[type_]
    return {field: sample(each) for field, each in shapes.types()[type_].items()}


def changed(obj: Any, path: Path, value: Any) -> Any:
    """Return an object with something else at a path; the rest is shared with the former."""
    head, *rest = path
    copy: Any = list(obj) if isinstance(obj, list) else dict(obj)
    if rest:
        copy[head] = changed(obj[head], tuple(rest), value)
    elif value is MISSING:
        del copy[head]
    else:
        copy[head] = value
    return copy


def mutated(obj: Object) -> Iterator[Object]:
    """Give an object with one field after the other made something else, each a new version."""
    for version, (path, value) in enumerate(_mutations(obj), 1000):
        yield changed(changed(obj, ("metadata", "resourceVersion"), str(version)), path, value)


def _mutations(obj: Object) -> Iterator[tuple[Path, Any]]:
    for path in places(obj):
        for value in VALUES:
            yield path, value
    for path in (("metadata", "annotations"), ("metadata", "unknown"), ("unknown",)):
        for value in HUGE:
            yield path, value
    yield ("metadata", "annotations"), {"key": HUGE[0]}
    yield ("metadata", "name"), "n" * 1000
    yield ("metadata", "namespace"), ".."

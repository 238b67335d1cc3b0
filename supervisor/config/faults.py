"""The faults of a configuration, worded for the person who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from supervisor.api import Problem
from supervisor.config.layers import Key, Layers, dotted
from supervisor.config.toml import format_value

_LONGEST_FOUND: Final = 60


@dataclass(frozen=True)
class Fault:
    """One fault: the source, the key, the value that was found and the values that are allowed."""

    source: str
    key: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = f"{self.source}: {self.key}" if self.key else self.source
        hint = self.allowed if self.allowed.endswith("?") else f"allowed: {self.allowed}"
        return f"{where}: found {self.found}; {hint}"


class BadReference(Fault):
    """A key whose value is allowed, but refers to something that cannot be used."""

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.found}; {self.allowed}"


class UnreadableSource(Fault):
    """A source that cannot be read at all: `found` is the reason, `allowed` a hint."""

    def __str__(self) -> str:
        return f"cannot read {self.source}: {self.found}; {self.allowed}"


class ConfigError(Exception):
    """The configuration has faults; `faults` has all of them."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


def unknown(layers: Layers, key: Key, known: Iterable[str], what: str = "key") -> Fault:
    """Return the fault of a name that does not exist, with the nearest name that does."""
    names = sorted(known)
    near = difflib.get_close_matches(key[-1], names, n=1)
    if near:
        allowed = f"did you mean {dotted((*key[:-1], near[0]))}?"
    else:
        allowed = ", ".join(names) if names else "nothing here"
    return Fault(layers.source(key), dotted(key), f"an unknown {what}", allowed)


def of_value(layers: Layers, key: Key, value: Any, allowed: str) -> Fault:
    """Return the fault of a value that is not allowed."""
    return Fault(layers.source(key), dotted(key), show(value), allowed)


def of_model(
    error: ValidationError, model: type[BaseModel], layers: Layers, table: Key
) -> list[Fault]:
    """Return the faults of a table that its pydantic model refuses."""
    schema = _json_schema(model)
    return [_of_error(dict(details), schema, layers, table) for details in error.errors()]


def of_problem(layers: Layers, problem: Problem) -> Fault:
    """Return the fault of a problem that a module has found."""
    source = layers.source(tuple(problem.key.split(".")))
    return BadReference(source, problem.key, problem.reason, problem.hint)


def show(value: Any) -> str:
    """Return a value as it is written in TOML, cut to a readable length."""
    text = format_value(value)
    return text if len(text) <= _LONGEST_FOUND else f"{text[: _LONGEST_FOUND - 1]}…"


def _of_error(
    error: Mapping[str, Any], schema: Mapping[str, Any], layers: Layers, table: Key
) -> Fault:
    location = tuple(error["loc"])
    within, at = _follow(schema, location)
    key = (*table, *(str(part) for part in location[:within]))
    match error["type"]:
        case "extra_forbidden":
            _, parent = _follow(schema, location[:-1])
            return unknown(layers, (*table, *map(str, location)), parent.get("properties", ()))
        case "missing":
            return Fault(layers.source(key), dotted(key), "nothing", describe(at) or "a value")
        case "value_error" | "assertion_error":
            together = isinstance(error["input"], dict)
            found = "these keys together" if together else show(error["input"])
            return Fault(layers.source(key), dotted(key), found, str(error["ctx"]["error"]))
    return of_value(layers, key, error["input"], describe(at) or error["msg"])


def _json_schema(model: type[BaseModel]) -> dict[str, Any]:
    try:
        return model.model_json_schema()
    except PydanticInvalidForJsonSchema:  # a type without a JSON schema: pydantic's text is used
        return {}


def _follow(schema: Mapping[str, Any], location: tuple[Any, ...]) -> tuple[int, Mapping[str, Any]]:
    """Walk down a JSON schema; return how many parts of the location it followed, and the schema.

    Further parts of a pydantic location name a branch of a union, not a key.
    """
    definitions = schema.get("$defs", {})
    at: Mapping[str, Any] = schema
    for depth, part in enumerate(location):
        inner = at.get("items") if isinstance(part, int) else at.get("properties", {}).get(part)
        inner = inner or at.get("additionalProperties")
        if not isinstance(inner, dict):
            return depth, at
        at = _resolve(inner, definitions)
    return len(location), at


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = definitions[reference.removeprefix("#/$defs/")]
    return found


def describe(schema: Mapping[str, Any]) -> str:
    """Return in words which values a JSON schema allows; empty if it does not say."""
    if "enum" in schema:
        return " or ".join(format_value(value) for value in schema["enum"])
    if "const" in schema:
        return format_value(schema["const"])
    if "anyOf" in schema:
        branches = [describe(branch) for branch in schema["anyOf"] if branch.get("type") != "null"]
        return " or ".join(filter(None, branches))
    match schema.get("type"):
        case "integer":
            return f"an integer{_range(schema)}"
        case "number":
            return f"a number{_range(schema)}"
        case "boolean":
            return "true or false"
        case "string":
            return _string(schema)
        case "array":
            inner = describe(schema.get("items", {}))
            return f"a list, each {inner}" if inner else "a list"
        case "object":
            return "a table"
    return ""


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    words = [
        text
        for bound, text in (
            (low, f"at least {low}"),
            (above, f"above {above}"),
            (high, f"at most {high}"),
            (below, f"below {below}"),
        )
        if bound is not None
    ]
    return f", {' and '.join(words)}" if words else ""


def _string(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        return str(schema.get("description") or f"a string that matches {schema['pattern']}")
    return "a string that is not empty" if schema.get("minLength") else "a string"

"""Columns of CRDs, and of custom resources (additionalPrinterColumns)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from modules.apiserver.columns.cells import AGE, NAME, Column, since
from modules.apiserver.meta.objects import Json, dig, encode

# .name, ['name'] or ["name"], [3], [*], [?(@.type=="Ready")]: the part of JSONPath that CRDs use.
_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\]\\])+)
      | \[['"](?P<quoted>[^'"]+)['"]\]
      | \[(?P<index>-?\d+|\*)\]
      | \[\?\(@\.(?P<field>[^=!<>\s]+)\s*==\s*['"](?P<value>[^'"]*)['"]\)\]""",
    re.VERBOSE,
)


def custom_columns(definitions: list[Json]) -> tuple[Column, ...]:
    """Return the columns of a custom resource; NAME is always first, AGE the default."""
    if not definitions:
        return (NAME, AGE)
    return (
        NAME,
        *(
            Column(
                definition["name"],
                _cell(definition["jsonPath"], definition.get("type", "string")),
                type=definition.get("type", "string"),
                format=definition.get("format", ""),
                description=definition.get("description", ""),
                wide=bool(definition.get("priority")),
            )
            for definition in definitions
        ),
    )


def find(obj: Any, path: str) -> list[Any]:
    """Return the values that a JSONPath selects; raises ValueError for an unsupported path."""
    found = [obj]
    position = 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(f"cannot understand the JSONPath {path!r} from {path[position:]!r} on")
        found = [value for item in found for value in _select(item, step)]
        position = step.end()
    return found


def _select(item: Any, step: re.Match[str]) -> list[Any]:
    name = step["quoted"] or (step["name"] and re.sub(r"\\(.)", r"\1", step["name"]))
    if name:
        return [item[name]] if isinstance(item, dict) and name in item else []
    if not isinstance(item, list):
        return []
    if step["index"] == "*":
        return item
    if step["index"]:
        index = int(step["index"])
        return [item[index]] if -len(item) <= index < len(item) else []
    path = step["field"].split(".")
    return [element for element in item if dig(element, *path) == step["value"]]


def _cell(path: str, type_: str) -> Callable[[Json], Any]:
    def cell(obj: Json) -> Any:
        found = find(obj, path)
        if not found or found[0] is None:
            return None
        if type_ == "date":
            return since(found[0])
        if type_ != "string":
            return found[0]
        return ",".join(
            value if isinstance(value, str) else encode(value).decode() for value in found
        )

    return cell


CUSTOMRESOURCEDEFINITIONS = (
    NAME,
    Column("Created At", lambda obj: obj["metadata"].get("creationTimestamp"), "date"),
)

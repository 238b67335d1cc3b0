"""The keys of the configuration: meaning from config/cloudcore.toml, the rest from the classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from docs.generate.markdown import code, definitions, prose
from supervisor.config import load, tables
from supervisor.config.faults import describe
from supervisor.config.loading import default_file
from supervisor.unit.restart_policy import Supervision


@dataclass
class Table:
    """A table of the file: what its comments say of it, and of each key."""

    name: str
    about: str = ""
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """the value as it is written, and the meaning"""


def render() -> str:
    """Return a section for each table."""
    allowed = {key: describe(schema) for key, schema in schemas()}
    return "\n".join(_section(each, allowed) for each in read(default_file().read_text()))


def _section(found: Table, allowed: Mapping[str, str]) -> str:
    keys = (
        (code(f"{key} = {value}"), _meaning(meaning, allowed[f"{found.name}.{key}"]))
        for key, (value, meaning) in found.keys.items()
    )
    return f"## {code(f'[{found.name}]')}\n\n{prose(found.about)}\n\n{definitions(keys)}"


def _meaning(text: str, allowed: str) -> str:
    return f"{prose(text)} (allowed: {prose(allowed)})"


def read(text: str) -> list[Table]:
    """Read the file of the defaults; a comment is about the keys that follow without a gap."""
    found: list[Table] = []
    comment: list[str] = []
    first, after_key = "", False
    for line in text.splitlines():
        if heading := re.fullmatch(r"\[([\w.]+)\]", line):
            found.append(Table(heading[1]))
            comment, after_key = [], False
        elif line.startswith("#"):
            comment = comment if comment and not after_key else []
            comment.append(line.removeprefix("#").strip())
            after_key = False
        elif assignment := re.fullmatch(r"(\w+) = (.+)", line):
            meaning = f"see `{first}`" if after_key and comment else " ".join(comment)
            meaning = meaning or _said_before(found, assignment[1])
            first = first if after_key else assignment[1]
            found[-1].keys[assignment[1]] = assignment[2], meaning
            after_key = True
        elif not line:
            if found and not found[-1].keys:
                found[-1].about = " ".join(comment)
            comment, after_key = [], False
    return found


def _said_before(found: list[Table], key: str) -> str:
    """Return the meaning of a key that has none in its place but in an earlier table."""
    return next((each.keys[key][1] for each in found if key in each.keys), "")


def schemas() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the JSON schema of each key, by its dotted name."""
    for model in vars(tables).values():
        # The docstring of a table's class begins with the table.
        if heading := re.match(r"`\[(\w+)\]`", getattr(model, "__doc__", None) or ""):
            yield from _of_model(heading[1], model)
    yield "modules.enabled", {"type": "array", "items": {"type": "string"}}
    for spec in load(environ={}).modules:
        yield from _of_model(f"modules.{spec.name}", spec.cls.Config)
        yield from _of_model(f"modules.{spec.name}.supervision", Supervision)


def _of_model(name: str, model: type[BaseModel]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    properties = model.model_json_schema()["properties"]
    for key, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _of_model(f"{name}.{key}", kind)
        else:
            yield f"{name}.{key}", properties[key]

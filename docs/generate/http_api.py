"""The HTTP interface of the admin socket, from its OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate.markdown import code, prose, table
from supervisor.admin.openapi import document
from supervisor.admin.routes import ROUTES

Schema = Mapping[str, Any]


def render() -> str:
    """Return a table of the operations, and one for each type of their answers."""
    described = document(ROUTES)
    heads = ("operation", "query", "token over TCP", "answer", "")
    operations = table(heads, _operations(described["paths"]))
    types = [
        f"### {name}\n\n{prose(schema.get('description', ''))}\n\n{_fields(schema)}"
        for name, schema in described["components"]["schemas"].items()
    ]
    return "\n".join([operations, "## Types of answers\n", *types])


def _operations(paths: Schema) -> Iterator[tuple[str, ...]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            query = [p["name"] for p in operation["parameters"] if p["in"] == "query"]
            answers = [
                f"{status}: {_content(response['content'])}"
                for status, response in operation["responses"].items()
                if status != "default"
            ]
            yield (
                code(f"{method.upper()} {path}"),
                ", ".join(map(code, query)),
                "needed" if operation["security"] else "",
                "; ".join(answers),
                prose(operation["summary"]),
            )


def _content(content: Schema) -> str:
    return " or ".join(
        _type(body["schema"]) if media == "application/json" else media
        for media, body in content.items()
    )


def _fields(schema: Schema) -> str:
    rows = [
        (code(name), _type(inner), prose(inner.get("description", "")))
        for name, inner in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "meaning"), rows)


def _type(schema: Schema) -> str:
    """Return a JSON schema in words."""
    if "$ref" in schema:
        name = re.sub(r".*/", "", schema["$ref"])
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(code(str(each)) for each in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object" if schema.get("additionalProperties"):
            return f"object of {_type(schema['additionalProperties'])}"
        case None:
            return "any"
        case found:
            return str(found)

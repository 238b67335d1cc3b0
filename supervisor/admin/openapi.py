"""The admin interface as an OpenAPI 3.1 document, made from the table of routes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from supervisor import version
from supervisor.admin.route import Route

#: Digits of a number in a query, at most.
MOST_DIGITS: Final = 18

_NUMBER: Final = {"type": "integer", "minimum": 0, "maximum": 10**MOST_DIGITS - 1}
_QUERY_SCHEMAS: Final = {"since": _NUMBER, "lines": _NUMBER, "follow": {"type": "boolean"}}


class Error(msgspec.Struct, frozen=True):
    """The body of an error: what went wrong, for people."""

    error: str


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of all routes, with the schemas of their answers."""
    types = [route.returns for route in routes if route.returns is not None]
    schemas, components = msgspec.json.schema_components(
        [*types, Error], ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(map(str, [*types, Error]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        schema = by_type.get(str(route.returns), {"type": "string"})
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, schema, by_type[str(Error)]
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cloudcore admin interface",
            "version": version.current(),
            "description": "Served on the Unix socket admin.sock, and on TCP if [admin] address "
            "is set. Over TCP, operations with a security requirement need the token of "
            "[admin] token_file.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schema: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", route.path)
    parameters = [_parameter(name, "path") for name in names]
    parameters += [_parameter(name, "query") for name in route.query]
    answer = {_media(route.type): {"schema": schema}}
    stream = {_media(route.stream): {"schema": {"type": "string"}}} if route.stream else {}
    statuses = [status for status in (route.status, route.otherwise) if status]
    failed = {"description": "error", "content": {"application/json": {"schema": error}}}
    return {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": route.summary,
        "parameters": parameters,
        "security": [] if route.open else [{"token": []}],
        "responses": {
            **{
                str(int(status)): {"description": status.phrase, "content": {**stream, **answer}}
                for status in statuses
            },
            "default": failed,
        },
    }


def _media(content_type: str) -> str:
    return content_type.partition(";")[0]


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema = _QUERY_SCHEMAS.get(name, {"type": "string"})
    return {"name": name, "in": place, "required": place == "path", "schema": schema}

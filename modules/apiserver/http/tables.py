"""meta.k8s.io/v1 Table: lists and events as rows, for `kubectl get`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modules.apiserver.columns import Column
from modules.apiserver.meta.objects import Json


def table(
    columns: Sequence[Column],
    objects: Iterable[Json],
    metadata: Json,
    *,
    include_object: str = "Metadata",
    with_definitions: bool = True,
) -> Json:
    """Build a Table.

    `include_object` is the query parameter: None, Metadata or Object. Only the first event of a
    watch has the column definitions.
    """
    result: Json = {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [column.definition() for column in columns],
        "rows": [row(columns, obj, include_object) for obj in objects],
    }
    if not with_definitions:
        result["columnDefinitions"] = None
    return result


def row(columns: Sequence[Column], obj: Json, include_object: str) -> Json:
    row: Json = {"cells": [_cell(column, obj) for column in columns]}
    match include_object:
        case "Object":
            row["object"] = obj
        case "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": obj["metadata"],
            }
    return row


def _cell(column: Column, obj: Json) -> Any:
    try:
        return column.cell(obj)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # Stored objects are not fully validated: one malformed status must not hide all others.
        return "<invalid>"

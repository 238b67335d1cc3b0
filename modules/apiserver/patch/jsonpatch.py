"""JSON patch (RFC 6902) with JSON pointers (RFC 6901)."""

from __future__ import annotations

import copy
import re
from typing import Any

from modules.apiserver.status import ApiError, bad_request

_INDEX = re.compile(r"0|[1-9]\d*")


def apply_json_patch(document: Any, operations: list[Any]) -> Any:
    """Return `document` after all operations; raises ApiError (400, or 422 where one fails)."""
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request(f"an operation of a JSON patch must be an object: {operation!r}")
        document = _apply(document, operation)
    return document


def _apply(document: Any, operation: dict[str, Any]) -> Any:
    name = operation.get("op")
    path = _pointer(operation, "path")
    match name:
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _add(document, path, _value(operation), replace=True)
        case "copy":
            source = _get(document, _pointer(operation, "from"))
            return _add(document, path, copy.deepcopy(source))
        case "move":
            source_path = _pointer(operation, "from")
            source = _get(document, source_path)
            return _add(_remove(document, source_path), path, source)
        case "test":
            if not _same(_get(document, path), _value(operation)):
                raise _failed(f"testing value {operation['path']} failed: it is another")
            return document
    raise bad_request(f"unknown operation {name!r} in a JSON patch")


def _pointer(operation: dict[str, Any], member: str) -> list[str]:
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(f"{member!r} of a JSON patch operation must be a JSON pointer: {text!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise bad_request(f"{operation.get('op')!r} of a JSON patch needs a value")
    return operation["value"]


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1, path)]
        else:
            raise _missing(path)
    return document


def _add(document: Any, path: list[str], value: Any, *, replace: bool = False) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and replace:
        parent[_index(last, len(parent) - 1, path)] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent), path), value)
    else:
        raise _missing(path)
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict) and last in parent:
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(last, len(parent) - 1, path)]
    else:
        raise _missing(path)
    return document


def _index(part: str, largest: int, path: list[str]) -> int:
    if not _INDEX.fullmatch(part) or int(part) > largest:
        raise _missing(path)
    return int(part)


def _same(left: Any, right: Any) -> bool:
    # In Python True == 1; in JSON they differ.
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _missing(path: list[str]) -> ApiError:
    return _failed(f"the path /{'/'.join(path)} does not exist")


def _failed(why: str) -> ApiError:
    return ApiError(
        422, "Invalid", f"the server rejected our request due to an error in our request: {why}"
    )

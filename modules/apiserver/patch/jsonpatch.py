"""JSON patch (RFC 6902) with JSON pointers (RFC 6901)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from modules.apiserver.meta.objects import MOST_BYTES, decode, encode
from modules.apiserver.meta.status import ApiError, bad_request, short

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
# Limits of kube-apiserver (maxJSONPatchOperations, JSONPatchMaxCopyBytes): each copy of a copy
# doubles the document, so a few operations could use up the memory.
MOST_OPERATIONS: Final = 10_000
MOST_COPIED: Final = MOST_BYTES
# Not limited by kube-apiserver: each insertion moves the items after it.
MOST_SHIFTED: Final = 10_000_000


def apply_json_patch(document: Any, operations: list[Any]) -> Any:
    """Return `document` after all operations.

    Raises ApiError: 400 for a malformed operation, 413 for too many, 422 if one fails or they
    cost too much.
    """
    if len(operations) > MOST_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got "
            f"{len(operations)}",
        )
    cost = _Cost()
    for operation in operations:
        if not isinstance(operation, dict):
            raise bad_request("an operation of a JSON patch must be an object")
        document = _apply(document, operation, cost)
    return document


@dataclass
class _Cost:
    """The cost of the operations so far: bytes copied and items moved."""

    copied: int = 0
    shifted: int = 0

    def copy(self, value: Any) -> Any:
        data = encode(value)
        self.copied += len(data)
        if self.copied > MOST_COPIED:
            raise _failed(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self.copied}, exceeding the limit {MOST_COPIED}"
            )
        return decode(data)

    def shift(self, items: int) -> None:
        self.shifted += items
        if self.shifted > MOST_SHIFTED:
            raise _failed("it inserts into or removes from the front of long lists too often")


def _apply(document: Any, operation: dict[str, Any], cost: _Cost) -> Any:
    name = operation.get("op")
    path = _pointer(operation, "path")
    match name:
        case "add":
            return _add(document, path, _value(operation), cost)
        case "remove":
            return _remove(document, path, cost)
        case "replace":
            return _replace(document, path, _value(operation))
        case "copy":
            source = _get(document, _pointer(operation, "from"))
            return _add(document, path, cost.copy(source), cost)
        case "move":
            source_path = _pointer(operation, "from")
            source = _get(document, source_path)
            return _add(_remove(document, source_path, cost), path, source, cost)
        case "test":
            if not _same(_get(document, path), _value(operation)):
                raise _failed(f"testing value {short(operation['path'])} failed: it is another")
            return document
    raise bad_request(f"unknown operation {_format_value(name)} in a JSON patch")


def _pointer(operation: dict[str, Any], member: str) -> list[str]:
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_request(
            f"{member!r} of a JSON patch operation must be a JSON pointer: {_format_value(text)}"
        )
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


def _add(document: Any, path: list[str], value: Any, cost: _Cost) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if last == "-" else _index(last, len(parent), path)
        cost.shift(len(parent) - index)
        parent.insert(index, value)
    else:
        raise _missing(path)
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    _get(document, path)
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent[_index(last, len(parent) - 1, path)] = value
    else:
        parent[last] = value
    return document


def _remove(document: Any, path: list[str], cost: _Cost) -> Any:
    if not path:
        return None
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict) and last in parent:
        del parent[last]
    elif isinstance(parent, list):
        index = _index(last, len(parent) - 1, path)
        cost.shift(len(parent) - index)
        del parent[index]
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
    return _failed(f"the path {short('/' + '/'.join(path))} does not exist")


def _format_value(value: Any) -> str:
    return short(repr(value))


def _failed(why: str) -> ApiError:
    return ApiError(
        422, "Invalid", f"the server rejected our request due to an error in our request: {why}"
    )

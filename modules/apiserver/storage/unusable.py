"""Objects in the file that cannot be used: they stay there and are reported, all others are served.

They were stored by a version with weaker validation, or damaged on the disk.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from modules.apiserver.catalog import Resource
from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import Entry, Key, decode
from modules.apiserver.meta.status import short

log = logging.getLogger(__name__)

# The fields that are read of every object, whatever its kind.
_USED = {
    "metadata": {
        **dict.fromkeys(("name", "uid", "resourceVersion", "creationTimestamp"), "string"),
        "labels": field_types.Map("string"),
        "finalizers": field_types.List("string"),
    }
}


class UnusableObjects:
    """The objects that are set aside, and why; the next start tries them again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reasons: dict[tuple[str, Key], str] = {}

    def add(self, storage: str, key: Key, reason: str) -> None:
        self._reasons[storage, key] = reason = short(reason)
        log.error(
            "cannot use %s %s of %s: %s; it is kept in the file and not served: create it anew to "
            "replace it, or delete it", storage, _format_key(key), self._path, reason,
        )  # fmt: skip

    def has(self, storage: str, key: Key) -> bool:
        return (storage, key) in self._reasons

    def forget(self, storage: str, key: Key) -> None:
        """Remove an object that has been replaced or deleted."""
        self._reasons.pop((storage, key), None)

    def lines(self, most: int) -> list[str]:
        """Return a line for each of the first `most` objects, and one that counts the others."""
        found = [
            f"{storage} {_format_key(key)}: {reason}"
            for (storage, key), reason in self._reasons.items()
        ]
        return found if len(found) <= most else [*found[:most], f"and {len(found) - most} more"]


def usable(key: Key, revision: int, body: bytes, resource: Resource) -> Entry:
    """Return the object in a row of the file; raises ValueError if it is unusable."""
    try:
        obj = decode(body)
    except (msgspec.DecodeError, RecursionError, TypeError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    wrong = next(field_types.faults(obj, _USED), None)
    if wrong is not None:
        raise ValueError(wrong.text())
    metadata = obj.get("metadata") or {}
    if metadata.get("name") != key[1]:
        raise ValueError(f"its name is {metadata.get('name')!r}")
    return Entry(key, revision, body, metadata.get("labels") or {}, resource.select(obj))


def _format_key(key: Key) -> str:
    return "/".join(filter(None, key))

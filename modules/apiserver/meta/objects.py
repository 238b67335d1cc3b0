"""The form in which objects are stored: their JSON bytes, and the values that selectors need.

Ten thousand pods take some 200 MB as Python dicts and 30 MB as bytes. GET and LIST send the bytes
without decoding them; a change decodes its object in some 15 us.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

Json = dict[str, Any]
#: The limit of kube-apiserver for the body of a request, applied to stored objects too.
MOST_BYTES: Final = 3 * 1024 * 1024
#: Objects nested deeper are refused: they would exhaust the stack of their readers. The deepest
#: CRDs in use have some 50 levels.
MOST_DEPTH: Final = 200
#: Namespace ("" for cluster-wide objects) and name.
Key = tuple[str, str]

encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder()
_NOTHING: Mapping[str, str] = {}


class Entry(NamedTuple):
    """One version of one object; immutable."""

    key: Key
    revision: int
    raw: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def decode(self) -> Json:
        """Return the object as a new dict, which the caller may change."""
        obj: Json = _decoder.decode(self.raw)
        return obj


class Event(NamedTuple):
    """A change of one object, as watches send it."""

    type: str
    entry: Entry
    # For selectors: a change can make an object start or stop matching the selector of a watch.
    previous: Entry | None

    @property
    def revision(self) -> int:
        return self.entry.revision

    @property
    def size(self) -> int:
        return len(self.entry.raw)


def watch_line(type_: str, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), raw)


def decode(data: bytes) -> Any:
    """Decode JSON; raises msgspec.DecodeError."""
    return _decoder.decode(data)


def dig(obj: Any, *path: str) -> Any:
    """Return what is at `path` in nested maps, None when any step is missing."""
    for step in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(step)
    return obj


def is_too_deep(obj: Any) -> bool:
    """Whether maps and lists are nested more than MOST_DEPTH levels deep."""
    level = [obj]
    for _ in range(MOST_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def make_entry(key: Key, revision: int, obj: Json, selectable: Mapping[str, str]) -> Entry:
    """Encode `obj`; `selectable` holds the values for field selectors."""
    metadata = obj["metadata"]
    return Entry(key, revision, encode(obj), metadata.get("labels") or _NOTHING, selectable)

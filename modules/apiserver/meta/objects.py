"""An object as it is kept: its JSON bytes, and the little that selectors look at.

Ten thousand pods as Python dicts would be some 200 MB; as bytes they are 30 MB, answer a GET or
LIST without being decoded, and are decoded in some 15 us where a change needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

Json = dict[str, Any]
# kube-apiserver's limit of a request's body; nothing that is stored may be larger either.
MOST_BYTES: Final = 3 * 1024 * 1024
# Objects nested deeper are refused: they would exhaust the stack of whoever handles them. The
# deepest CRDs in use have some 50 levels.
MOST_DEPTH: Final = 200
# Namespace ("" for what has none) and name.
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
        """Return the object, a new one that the caller may change."""
        obj: Json = _decoder.decode(self.raw)
        return obj


class Event(NamedTuple):
    """A change, as watches tell it."""

    type: str
    entry: Entry
    # For selectors: a change can make an object join or leave what a watch has selected.
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
    """Say whether maps and lists are nested deeper than is handled."""
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
    """Encode `obj`; `selectable` are its fields for field selectors."""
    metadata = obj["metadata"]
    return Entry(key, revision, encode(obj), metadata.get("labels") or _NOTHING, selectable)

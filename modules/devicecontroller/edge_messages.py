"""What messages of edges about devices have in common in v1alpha1 and v1beta1.

The structs are those of cloud/pkg/devicecontroller/types/device.go.
"""

from __future__ import annotations

import time
import uuid
from typing import Final, TypeVar

import msgspec

from ipc.message import DECODING_ERRORS
from modules.common.kube import INT64, BadObject, Object, bad_object

#: Digits of a number that fits into 64 bits at an edge.
_MOST_DIGITS: Final = 18

Content = TypeVar("Content")


class ValueMetadata(msgspec.Struct):
    """When a value was set, by the edge's clock in milliseconds."""

    timestamp: INT64 = 0


class Value(msgspec.Struct):
    """A reported or desired value of a property."""

    value: str | None = None
    metadata: ValueMetadata | None = None


class TypeMetadata(msgspec.Struct):
    """The type of a property."""

    type: str = ""


class TwinVersion(msgspec.Struct):
    """The edge's counter of the changes of a twin."""

    edge: INT64 = 0


class _Get(msgspec.Struct):
    event_id: str = ""


def now() -> int:
    """Return the time in milliseconds since the epoch, as messages have it."""
    return time.time_ns() // 1_000_000


def event(timestamp: int) -> Object:
    """Return the common fields of a message (`BaseMessage`); the time is in milliseconds."""
    return {"event_id": str(uuid.uuid4()), "timestamp": timestamp}


def read(content: object, shape: type[Content]) -> Content:
    """Decode the content of a message; raises BadObject if it is malformed."""
    try:
        if isinstance(content, (bytes, str)):
            return msgspec.json.decode(content, type=shape)
        return msgspec.convert(content, shape)
    except DECODING_ERRORS as error:
        raise bad_object(error) from error


def event_id_of(content: object) -> str:
    """Return the event_id of a request for all devices; empty if it has none."""
    try:
        return read(content, _Get).event_id
    except BadObject:
        return ""  # the resource is all that the request needs


def version_number(obj: Object) -> int:
    """Return the resourceVersion as the number that edges compare; 0 if it is none, as in Go."""
    version: str = obj["metadata"].get("resourceVersion") or ""
    is_one = version.isascii() and version.isdecimal() and len(version) <= _MOST_DIGITS
    return int(version) if is_one else 0

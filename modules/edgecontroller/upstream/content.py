"""What edges put into their messages (common/types/types.go)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec

from ipc import Message
from modules.edgecontroller.objects import Object

#: Characters of an edge's own words that are logged.
_LONGEST_TEXT: Final = 200

Content = TypeVar("Content")


class BadContent(Exception):
    """The content of a message from an edge is not what its kind of message has."""


@contextmanager
def shape_of(message: Message) -> Iterator[None]:
    """Turn the faults of working on objects of the wrong shape into BadContent.

    An edge must not be able to end this process with a status that has no such fields.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadContent(
            f"{message.operation} {message.resource}: not the shape of a status: {error!r}"
        ) from error


class PodStatusRequest(msgspec.Struct):
    """A pod's status as the edge has it; the field names are Go's."""

    name: str = msgspec.field(name="Name")
    status: Object = msgspec.field(name="Status")
    uid: str = msgspec.field(name="UID", default="")


class NodeStatusRequest(msgspec.Struct):
    """A node's status as the edge has it, and the devices that are no plain quantities."""

    status: Object = msgspec.field(name="Status")
    extend_resources: dict[str, list[dict[str, Any]] | None] | None = msgspec.field(
        name="ExtendResources", default=None
    )


class NodeUpdate(msgspec.Struct):
    """The part of a Node that an edge may change."""

    class Metadata(msgspec.Struct):
        annotations: dict[str, str] | None = None

    metadata: Metadata = msgspec.field(default_factory=Metadata)


def read_node_status(message: Message) -> NodeStatusRequest:
    return _read(message, NodeStatusRequest)


def read_node_update(message: Message) -> NodeUpdate:
    return _read(message, NodeUpdate)


def read_pod_statuses(message: Message, *, one: bool) -> list[PodStatusRequest]:
    """Read one status, or the list that an edge sends of all its pods now and then."""
    if one:
        return [_read(message, PodStatusRequest)]
    return _read(message, list[PodStatusRequest])


def text_of(message: Message) -> str:
    """Return what an edge says in words, cut off where it goes on for long."""
    content = message.content
    text = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
    return text[:_LONGEST_TEXT]


def _read(message: Message, type: type[Content]) -> Content:  # noqa: A002
    """Decode content, which is bytes off the wire and JSON-like from within cloudcore."""
    content = message.content
    try:
        if isinstance(content, bytes | str):
            return msgspec.json.decode(content, type=type)
        return msgspec.convert(content, type)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadContent(f"{message.operation} {message.resource}: {error}") from error

"""The contents of messages from edges (common/types/types.go)."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from ipc import Message
from modules.common.kube import BadObject, Object, bad_object, check, part

#: Limit of an edge's text in the log, in characters.
_LONGEST_TEXT: Final = 200

Content = TypeVar("Content")


class BadContent(BadObject):
    """The content of a message from an edge is not valid for its kind."""

    def __init__(self, problem: str) -> None:
        super().__init__("", problem)


class PodStatusRequest(msgspec.Struct):
    """A pod's status as the edge has it; the field names are Go's."""

    name: str = msgspec.field(name="Name")
    status: Object = msgspec.field(name="Status")
    uid: str = msgspec.field(name="UID", default="")


class NodeStatusRequest(msgspec.Struct):
    """A node's status as the edge has it, and devices that are more than quantities."""

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
    """Return a node's status; raises BadObject if Go could not decode it."""
    request = _read(message, NodeStatusRequest)
    check(request.status, part("NodeStatus"), at="Status")
    return request


def read_node_update(message: Message) -> NodeUpdate:
    return _read(message, NodeUpdate)


def read_pod_statuses(message: Message, *, one: bool) -> list[PodStatusRequest]:
    """Return one status, or the list of all pods' statuses that an edge sends periodically.

    Each status is checked on its own by `check_pod_status`, so that a bad one drops no others.
    """
    if one:
        return [_read(message, PodStatusRequest)]
    return _read(message, list[PodStatusRequest])


def check_pod_status(request: PodStatusRequest) -> None:
    """Raise BadObject if Go could not decode a pod's status."""
    check(request.status, part("PodStatus"), at="Status")


def text_of(message: Message) -> str:
    """Return the text of an edge's message, truncated."""
    content = message.content
    text = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
    return text[:_LONGEST_TEXT]


def _read(message: Message, type: type[Content]) -> Content:  # noqa: A002
    """Decode content: bytes from the wire, or Python objects from within cloudcore."""
    content = message.content
    try:
        if isinstance(content, bytes | str):
            return msgspec.json.decode(content, type=type)
        return msgspec.convert(content, type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_object(error) from error

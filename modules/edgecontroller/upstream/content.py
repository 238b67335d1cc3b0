"""The contents of messages from edges (common/types/types.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar

import msgspec

from ipc import Message
from modules.common.kube import (
    INT32,
    INT64,
    BadObject,
    Object,
    Resource,
    bad_object,
    check,
    part,
    shape_of,
)
from modules.common.message_resource import ObjectResource

#: Limit of a patch in bytes: that of a request to kube-apiserver (MaxRequestBodyBytes).
_LARGEST_PATCH: Final = 3 * 2**20

#: Limit of the pods whose statuses are in one message: each may cost requests to the API server. A
#: kubelet runs up to 110 by default.
MOST_STATUSES: Final = 1000

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


PodStatuses = Annotated[list[PodStatusRequest], msgspec.Meta(max_length=MOST_STATUSES)]


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
        labels: dict[str, str] | None = None

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class DeleteOptions(msgspec.Struct, rename="camel"):
    """The part of metav1.DeleteOptions that a kubelet uses."""

    class Preconditions(msgspec.Struct):
        uid: str | None = None

    grace_period_seconds: INT64 | None = None
    preconditions: Preconditions | None = None

    @property
    def uid(self) -> str:
        return (self.preconditions and self.preconditions.uid) or ""


class BoundObject(msgspec.Struct, rename="camel", omit_defaults=True):
    """The object that a token is bound to."""

    kind: str = ""
    api_version: str = ""
    name: str = ""
    uid: str = ""


class TokenRequest(msgspec.Struct):
    """A TokenRequest of authentication.k8s.io."""

    class Spec(msgspec.Struct, rename="camel"):
        audiences: list[str] | None = None
        expiration_seconds: INT64 | None = None
        bound_object_ref: BoundObject | None = None

    spec: Spec


class EventPatch(msgspec.Struct):
    """A patch of an event that an edge has written before (EventPatchInfo in types.go)."""

    patch: str = msgspec.field(name="patchData")


class CertificateRequest(msgspec.Struct):
    """The part of a CertificateSigningRequest that is its author's."""

    class Spec(msgspec.Struct, rename="camel", omit_defaults=True):
        request: bytes
        signer_name: str
        usages: list[str]
        expiration_seconds: INT32 | None = None

    spec: Spec


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
    statuses: list[PodStatusRequest] = _read(message, PodStatuses)
    return statuses


def check_pod_status(request: PodStatusRequest) -> None:
    """Raise BadObject if Go could not decode a pod's status."""
    check(request.status, part("PodStatus"), at="Status")


def read_object(message: Message, about: ObjectResource, resource: Resource) -> Object:
    """Return an object with the name in the message's resource; raises BadObject if it is none."""
    obj = _read(message, Object)
    metadata = obj.setdefault("metadata", {})
    if not isinstance(metadata, dict):
        raise BadObject("metadata", "expected object")
    metadata["name"] = about.name
    metadata.pop("managedFields", None)
    metadata.pop("namespace", None)
    if resource.namespaced:
        metadata["namespace"] = about.namespace
    check(obj, shape_of(resource))
    return obj


def read_patch(message: Message) -> Object:
    """Return a strategic merge patch, which an edge sends as a string of JSON."""
    size = len(message.content) if isinstance(message.content, bytes | str) else 0
    if size > _LARGEST_PATCH:
        raise BadContent(f"it has {size} bytes; a patch has up to {_LARGEST_PATCH}")
    return _read(message, Object)


def read_deletion(message: Message) -> DeleteOptions:
    """Return what a pod's deletion asks for.

    A string is the uid of the pod, of which edges before 1.12 want a deletion at once.
    """
    if isinstance(message.content, str):
        preconditions = DeleteOptions.Preconditions(message.content)
        return DeleteOptions(grace_period_seconds=0, preconditions=preconditions)
    return _read(message, DeleteOptions)


def read_event_patch(message: Message) -> Object:
    """Return the patch of an event."""
    return _decode(_read(message, EventPatch).patch, Object)


def read_certificate_request(message: Message) -> CertificateRequest:
    return _read(message, CertificateRequest)


def read_token_request(message: Message) -> TokenRequest:
    return _read(message, TokenRequest)


def listed(names: Iterable[str]) -> str:
    """Return names that an edge has sent, for a message, truncated."""
    return ", ".join(sorted(names))[:_LONGEST_TEXT]


def text_of(message: Message) -> str:
    """Return the text of an edge's message, truncated."""
    content = message.content
    text = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
    return text[:_LONGEST_TEXT]


def _read(message: Message, type: type[Content]) -> Content:  # noqa: A002
    """Decode content: bytes from the wire, or Python objects from within cloudcore."""
    return _decode(message.content, type)


def _decode(content: Any, type: type[Content]) -> Content:  # noqa: A002
    try:
        if isinstance(content, bytes | str):
            return msgspec.json.decode(content, type=type)
        return msgspec.convert(content, type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_object(error) from error

"""Answers to CSI drivers, in the form that they read (cloud/pkg/csidriver/controllerserver.go).

A driver decodes the content of each answer from base64, and then from JSON: so Go's cloud writes
the bytes of an edge of 1.1. An edge of today sends JSON in JSON, which Go's cloud passes on and its
driver refuses ("content type map is not string"). Here both get base64.

Only for createvolume a driver recognizes an error by its operation. For the other requests it
decodes the text of an error, too, and has to fail at that: a text with a space is no base64.
"""

from __future__ import annotations

from typing import Any, Final

from ipc import Message
from ipc.message import OP_ERROR
from modules.cloudhub.questions import NoAnswer
from modules.common.wire import json_form

_SOURCE: Final = "cloudhub"
_GROUP: Final = "resource"
#: Bytes that a driver reads, at once (DefaultBufferSize in cloud/pkg/csidriver/uds.go).
_LONGEST: Final = 10480
#: Characters of an id, a resource and a text in an error, each of which takes up to six bytes.
_ID: Final = 100
_RESOURCE: Final = 400
_TEXT: Final = 1000
#: What an edge of either generation sends if it has nothing to send.
_NOTHING: Final = (None, "", b"", b"null")


def success(request: Message, node: str, answer: Message) -> bytes:
    """Encode an edge's answer; raises NoAnswer if it is an error, or of no use to the driver."""
    content = answer.content
    if answer.operation == OP_ERROR:
        raise NoAnswer(_error_text(node, content))
    if content in _NOTHING:
        raise NoAnswer(f"node {node} failed to do it; the log of its edgecore says why")
    (data,) = json_form.encode(request.response(content, source=_SOURCE, group=_GROUP))
    if len(data) > _LONGEST:
        raise NoAnswer(
            f"the answer of node {node} takes {len(data)} bytes, and a driver reads {_LONGEST}"
        )
    return data


def failure(request: Message | None, text: str) -> bytes:
    """Encode an error about a request, which is None if it could not be read."""
    made = Message.build(_SOURCE, _GROUP, OP_ERROR, "", text[:_TEXT])
    if request is not None:
        made.parent_id, made.resource = request.id[:_ID], request.resource[:_RESOURCE]
    (data,) = json_form.encode(made)
    return data


def _error_text(node: str, content: Any) -> str:
    text = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
    text = text[:_TEXT]
    return text if " " in text else f"node {node} answered: {text}"

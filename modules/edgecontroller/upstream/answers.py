"""Answers to requests of edges, as the clients of the edge decode them (metamanager/client).

Requests that write, and those about leases, are answered with an ObjectResp: the object, or the
`metav1.Status` of the failure, whose reason tells a kubelet what to do. Other requests are answered
with the object or with "OK", and their failures with the operation `error` and a text. From 1.12 on
metaManager does not store such an answer (processRemote), and its clients report a failure, since
they cannot decode the text. An edge of v1.1 stores any answer, so it gets none to a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ipc import Message
from modules.common import message_resource
from modules.common.kube import ApiError, BadObject, KubeError, Object
from modules.common.message_resource import ObjectResource
from modules.common.wire.generations import V1_23
from modules.edgecontroller import messages
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.objects import keep, version_of
from modules.edgecontroller.upstream.authorization import Denied

#: Requests that are answered with an ObjectResp (ObjectResp in common/types/types.go).
_OBJECT_RESPONSES: Final = frozenset(
    {
        (messages.NODE, messages.INSERT),
        (messages.NODE_PATCH, messages.PATCH),
        (messages.POD, messages.INSERT),
        (messages.POD_PATCH, messages.PATCH),
        (messages.LEASE, messages.QUERY),
        (messages.LEASE, messages.INSERT),
        (messages.LEASE, messages.UPDATE),
        (messages.CERTIFICATESIGNINGREQUEST, messages.INSERT),
    }
)

#: Those of them whose answers have a resource version, as in Go's cloud (upstream.go).
_VERSIONED: Final = (messages.NODE_PATCH, messages.POD, messages.POD_PATCH)

#: Requests whose failures have no answer: nobody waits for that about an event, and an edge would
#: keep any text as the CA (metaserver/certificate/manager.go).
_SILENT: Final = (messages.EVENT, messages.AUTHORITY)

#: The object of a failure, as Go has it: a kubelet reads that of a mirror pod which exists already.
_NO_OBJECT: Final = {"metadata": {"creationTimestamp": None}}


class Answers:
    """Sends answers in the shape that fits the request and the edge's protocol generation."""

    def __init__(self, cloudhub: CloudHubClient, generations: Mapping[str, str]) -> None:
        self._cloudhub = cloudhub
        self._generations = generations

    def expects_errors(self, node: str) -> bool:
        """Whether a node's edge is known to store no error in place of an object."""
        return self._generations.get(node) == V1_23

    async def succeed(self, question: Message, about: ObjectResource, result: Any) -> None:
        """Answer with an object, or with a text such as "OK"."""
        version = ""
        if isinstance(result, dict):
            result["metadata"].pop("managedFields", None)
            version = version_of(result)
            if not self.expects_errors(about.node):
                keep(result)
        if _is_object_response(question, about):
            version = version if about.type in _VERSIONED else ""
            result = {"Object": result, "Err": None}
        await self._send(question, about, result, version)

    async def acknowledge(self, question: Message, version: str = "") -> None:
        """Answer a report of a status with OK, and the resource version of what was written."""
        await self._send(question, message_resource.parse(question.resource), messages.OK, version)

    async def fail(self, question: Message, about: ObjectResource, error: Exception) -> None:
        """Answer with a failure, unless the edge would store the answer as the object."""
        if _is_object_response(question, about) or self.expects_errors(about.node):
            await self._send_failure(question, about, error)

    async def deny(self, question: Message, about: ObjectResource, denied: Denied) -> None:
        """Answer with a denial, whatever the edge does with it: denials.py takes care of that."""
        await self._send_failure(question, about, denied)

    async def error(self, question: Message, text: str) -> None:
        """Answer with the operation `error`."""
        answer = question.error(text, source=messages.SOURCE, group=messages.GROUP)
        await self._cloudhub.send(answer)

    async def _send_failure(
        self, question: Message, about: ObjectResource, error: Exception
    ) -> None:
        status = status_of(error)
        if _is_object_response(question, about):
            failure = {"Object": _NO_OBJECT, "Err": {"ErrStatus": status}}
            await self._send(question, about, failure)
        elif about.type not in _SILENT:
            await self.error(question, status["message"])

    async def _send(
        self, question: Message, about: ObjectResource, content: Any, version: str = ""
    ) -> None:
        if about.type == messages.NODE_STATUS:
            about = about._replace(type=messages.NODE)  # nodeMsgResponse in upstream.go
        answer = messages.answer(question, str(about), content)
        answer.resource_version = version
        await self._cloudhub.send(answer)


def status_of(error: Exception) -> Object:
    """Return the `metav1.Status` of a failure; that of the API server if it has sent one.

    All of its fields have a value: the edge takes an empty status for success. An outage tells
    nothing of cloudcore's own files and credentials.
    """
    if isinstance(error, Denied):
        return _status(403, "Forbidden", str(error))
    if isinstance(error, BadObject):
        return _status(400, "BadRequest", str(error))
    if isinstance(error, ApiError) and not error.outage:
        return _status(error.status, error.reason, error.message, error.details)
    if isinstance(error, KubeError):
        return _status(503, "ServiceUnavailable", "the Kubernetes API is not available")
    return _status(500, "InternalError", "cloudcore could not handle the request: see its log")


def _is_object_response(question: Message, about: ObjectResource) -> bool:
    return (about.type, question.operation) in _OBJECT_RESPONSES


def _status(code: int, reason: str, message: str, details: Object | None = None) -> Object:
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details or {},
        "code": code,
    }

"""Cloud to edge: routes messages to the session of the node that they name.

After cloud/pkg/cloudhub/channelq/channelq.go and EventWriteLoop in handler/eventhandler.go. A
message for a node that is not connected is dropped, since the controllers resync a node when it
connects; a question is answered with an error at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from picows import WSCloseCode

from ipc import Message
from ipc.message import new_id
from modules.cloudhub.cluster.protocol import GROUP, Cluster
from modules.cloudhub.metrics import HubStatistics
from modules.cloudhub.replicas.suspension import Suspension
from modules.cloudhub.routing.upstream import Upstream
from modules.cloudhub.session.session import Session
from modules.common.failure_log import FailureLog
from modules.common.message_resource import BadResource, split
from modules.common.wire import WireError
from modules.common.wire.generations import tell
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)

_QUESTION: Final = "request_exist"
_ANSWER: Final = "response_exist"
_EDGE_MANAGER: Final = "edgemgr"
# cloud/pkg/cloudhub/common/model/types.go, IsToEdge: part of the resource -> operations
_NOT_FOR_EDGES: Final = {
    "membership": ("get",),
    "twin": ("delta", "document", "get"),
    "auth_info": ("get",),
    "node": ("deleted",),
}


class Downstream:
    """Routes the messages of other modules to sessions."""

    def __init__(
        self,
        sessions: Mapping[str, Session],
        cluster: Cluster,
        upstream: Upstream,
        statistics: HubStatistics,
        suspension: Suspension | None = None,
    ) -> None:
        self._suspension = suspension
        self._sessions = sessions
        self._cluster = cluster
        self._upstream = upstream
        self._statistics = statistics
        self._failures = FailureLog(log, logging.ERROR)

    async def run(self, context: ModuleContext) -> None:
        """Dispatch until the module is asked to stop.

        A message is acknowledged when it is in its session's queue: if this process crashes,
        every edge reconnects and is resynced anyway.
        """
        await context.consume(self.dispatch)

    def dispatch(self, message: Message) -> None:
        """Handle one message; never blocks on an edge."""
        if self._suspension:
            self._suspension.passed()
        if message.group == GROUP:
            self._cluster.handle(message)
            return
        try:
            node, at_edge = split(message.resource)
        except BadResource as error:
            self._drop(message, str(error))
            log.warning("%s from %s dropped: %s", message.operation, message.source, error)
            return
        session = self._sessions.get(node)
        if session is None or not session.enrolled:
            if session is None and self._cluster.forward(message, node):
                return
            self._statistics.not_connected += 1
            self._drop(message, f"node {node} is not connected")
            log.debug("node %s is not connected: %s dropped", node, message.resource)
        elif message.operation == _QUESTION:
            self._answer_question(message, session)
        elif not at_edge and _stops(message):
            reason = f"node {node} was stopped or deleted"
            session.end(WSCloseCode.OK, "stopped", reason)
        elif _is_for_edge(message, at_edge):
            self._send(message, session, at_edge)

    def _send(self, message: Message, session: Session, at_edge: str) -> None:
        """Send a message; one that cannot be encoded is set aside, and its sender is told."""
        resource = message.resource
        if message.reply_to:
            session.await_answer(message)
        # As in Go: `sync` is never set on the wire.
        message.sync = False
        # The resource of a message about the node itself is kept, as in trimMessage.
        message.resource = at_edge or resource
        try:
            session.send(message)
        except WireError as error:
            message.resource = resource
            self._set_aside(message, session, error)
        else:
            self._failures.worked(resource)

    def _set_aside(self, message: Message, session: Session, error: WireError) -> None:
        """Refuse a message as an edge does that cannot use it."""
        self._statistics.undeliverable_down += 1
        text = f"{message.resource}: {message.operation} is set aside: {error}"
        self._failures.failed(message.resource, str(error.__cause__), text)
        refusal = message.error(str(error), source="cloudhub")
        if session.takes_answer(refusal):
            self._upstream.answer(refusal)
        else:
            self._upstream.send_own(refusal)

    def _answer_question(self, message: Message, session: Session) -> None:
        message.parent_id, message.id = message.id, new_id()
        message.operation = _ANSWER
        message.content = tell(session.generation_name)
        if message.reply_to:
            self._upstream.answer(message)
        else:
            self._upstream.send_own(message)

    def _drop(self, message: Message, reason: str) -> None:
        if message.reply_to:
            self._upstream.answer(message.error(reason, source="cloudhub"))


def _stops(message: Message) -> bool:
    """Whether a message says that its node was stopped or deleted (IsNodeStopped in types.go)."""
    return message.operation == "deleted" or (
        message.operation == "updated"
        and isinstance(message.content, dict)
        and message.content.get("action") == "stop"
    )


def _is_for_edge(message: Message, resource: str) -> bool:
    return message.source != _EDGE_MANAGER or not any(
        part in resource and message.operation in operations
        for part, operations in _NOT_FOR_EDGES.items()
    )

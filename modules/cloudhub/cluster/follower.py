"""One of CloudHub's processes beside the first: it asks that one, and tells it what it holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ipc import Message
from modules.cloudhub.channel_sender import ChannelSender
from modules.cloudhub.cluster import protocol
from modules.cloudhub.cluster.protocol import (
    ClusterSession,
    process_message,
)
from modules.common.message_resource import node_of
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)


class Follower:
    """Implements Cluster. `sessions` are those of this process, by node."""

    def __init__(
        self, context: ModuleContext, first: str, sessions: Mapping[str, ClusterSession]
    ) -> None:
        self._unit = context.name
        self._sessions = sessions
        self._outbox: ChannelSender[None] = ChannelSender(
            f"process {first}",
            lambda message: context.send(first, message),
            sent=lambda _: None,
            dropped=lambda _message, _error: None,
        )

    async def run(self) -> None:
        self._say_roster()
        await self._outbox.run()

    async def joined(self) -> None:
        """Nothing to wait for: each session waits for its grant."""

    async def drained(self) -> None:
        await self._outbox.idle.wait()

    def check(self, node: str) -> None:
        """Left to the first process: it answers the claim."""

    def claim(self, session: ClusterSession) -> bool:
        self._say(protocol.CLAIM, session)
        older = self._sessions.get(session.node)
        if older is not None:
            older.replaced()
        return False

    def enroll(self, session: ClusterSession) -> None:
        self._say(protocol.ENROLL, session)

    def release(self, session: ClusterSession) -> None:
        self._say(protocol.RELEASE, session)

    def handle(self, message: Message) -> None:
        serial, reason = message.content
        if message.operation == protocol.CALL:
            self._say_roster()
        elif message.operation == protocol.RESET:
            log.warning("every edge starts over: %s", reason)
            for session in list(self._sessions.values()):
                session.start_over(reason)
        else:
            member = self._sessions.get(node_of(message.resource))
            if member is not None and member.serial == serial:
                self._decided(member, message.operation, reason)

    def forward(self, message: Message, node: str) -> bool:  # noqa: ARG002 - the first one's part
        """What comes from the first process goes no further."""
        return False

    def _decided(self, session: ClusterSession, operation: str, reason: str) -> None:
        if operation == protocol.GRANT:
            session.granted()
        elif operation == protocol.REFUSE:
            session.refused(reason)
        elif operation == protocol.EVICT:
            session.replaced()

    def _say_roster(self) -> None:
        sessions = list(self._sessions.values())
        held = [[each.node, each.serial, each.enrolled] for each in sessions if not each.pending]
        self._outbox.put(process_message(protocol.ROSTER, [self._unit, held]), None)
        for session in sessions:
            if session.pending:  # the first process may have died with the claim
                self._say(protocol.CLAIM, session)

    def _say(self, operation: str, session: ClusterSession) -> None:
        what: Any = [self._unit, session.serial]
        self._outbox.put(process_message(operation, what, session.node), None)

"""A follower: claims nodes from the leader, and reports which ones its sessions hold."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ipc import Message
from modules.cloudhub.channel_sender import ChannelSender
from modules.cloudhub.cluster import protocol
from modules.cloudhub.cluster.protocol import ClusterSession, process_message
from modules.common.message_resource import node_of
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)


class Follower:
    """Implements Cluster for a follower. `sessions` maps node -> session of this process."""

    def __init__(
        self, context: ModuleContext, first: str, sessions: Mapping[str, ClusterSession]
    ) -> None:
        self._unit = context.name
        self._sessions = sessions
        self._sender: ChannelSender[None] = ChannelSender(
            f"process {first}",
            lambda message: context.send(first, message),
            sent=lambda _: None,
            dropped=lambda _message, _error: None,
        )

    async def run(self) -> None:
        self._send_roster()
        await self._sender.run()

    async def joined(self) -> None:
        """Return at once: each session waits for its own grant."""

    async def drained(self) -> None:
        await self._sender.idle.wait()

    def check(self, node: str) -> None:
        """Do nothing: the leader decides when it gets the claim."""

    def claim(self, session: ClusterSession) -> bool:
        self._send(protocol.CLAIM, session)
        older = self._sessions.get(session.node)
        if older is not None:
            older.replaced()
        return False

    def enroll(self, session: ClusterSession) -> None:
        self._send(protocol.ENROLL, session)

    def release(self, session: ClusterSession) -> None:
        self._send(protocol.RELEASE, session)

    def handle(self, message: Message) -> None:
        serial, reason = message.content
        if message.operation == protocol.CALL:
            self._send_roster()
        elif message.operation == protocol.RESET:
            log.warning("disconnecting all edges, which reconnect: %s", reason)
            for session in list(self._sessions.values()):
                session.start_over(reason)
        else:
            member = self._sessions.get(node_of(message.resource))
            if member is not None and member.serial == serial:
                self._apply_decision(member, message.operation, reason)

    def forward(self, message: Message, node: str) -> bool:  # noqa: ARG002 - only a leader forwards
        """Return False: a follower does not forward."""
        return False

    def _apply_decision(self, session: ClusterSession, operation: str, reason: str) -> None:
        if operation == protocol.GRANT:
            session.granted()
        elif operation == protocol.REFUSE:
            session.refused(reason)
        elif operation == protocol.EVICT:
            session.replaced()

    def _send_roster(self) -> None:
        sessions = list(self._sessions.values())
        held = [
            [each.node, each.serial, each.generation_name] for each in sessions if not each.pending
        ]
        self._sender.put(process_message(protocol.ROSTER, [self._unit, held]), None)
        for session in sessions:
            if session.pending:  # the leader may have crashed with the claim
                self._send(protocol.CLAIM, session)

    def _send(self, operation: str, session: ClusterSession) -> None:
        content: Any = [self._unit, session.serial, session.generation_name]
        self._sender.put(process_message(operation, content, session.node), None)

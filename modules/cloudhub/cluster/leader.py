"""The first of CloudHub's processes, usually the only one: it leads the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ipc import ChannelError, Message, ModuleUnavailable, UnknownModule
from modules.cloudhub.channel_sender import ChannelSender
from modules.cloudhub.cluster import protocol
from modules.cloudhub.cluster.directory import (
    Directory,
    Holder,
)
from modules.cloudhub.cluster.protocol import (
    ClusterSession,
    process_message,
)
from modules.cloudhub.endpoint.identity import HandshakeRefused
from modules.common.message_resource import node_of
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)

#: Seconds that the others have to say what they hold before edges are let in.
_ROSTER: Final = 1.0
#: Messages that may wait for a process whose channel is full; its edges start over if more do.
_MAX_WAITING: Final = 50_000


class Leader:
    """Implements Cluster: keeps the directory and passes messages to the other processes.

    `sessions` are those of this process, by node.
    """

    def __init__(
        self,
        context: ModuleContext,
        others: Sequence[str],
        limit: int,
        sessions: Mapping[str, ClusterSession],
        publish: Callable[[str, str], None],
    ) -> None:
        self._unit = context.name
        self._sessions = sessions
        self._directory = Directory(limit, publish=publish, evict=self._evict)
        self._outboxes = {unit: self._outbox(context, unit) for unit in others}
        self._unknown = set(others)
        self._claims: list[tuple[str, Holder]] = []
        self._known = asyncio.Event()
        if not others:
            self._known.set()

    def __len__(self) -> int:
        """How many nodes are held by all processes together."""
        return len(self._directory)

    async def run(self) -> None:
        for unit in self._outboxes:
            self._put(unit, process_message(protocol.CALL, [0, ""]))
        async with asyncio.TaskGroup() as tasks:
            for outbox in self._outboxes.values():
                tasks.create_task(outbox.run())

    async def joined(self) -> None:
        """Wait for the roster of each other process; what one says later is learned then."""
        try:
            async with asyncio.timeout(_ROSTER):
                await self._known.wait()
        except TimeoutError:
            log.info("not heard from yet: %s", ", ".join(sorted(self._unknown)))
        self._known.set()
        for node, holder in self._claims:
            self._answer_claim(node, holder)
        self._claims.clear()

    async def drained(self) -> None:
        for outbox in self._outboxes.values():
            await outbox.idle.wait()

    # Sessions of this process

    def check(self, node: str) -> None:
        self._directory.check(node)

    def claim(self, session: ClusterSession) -> bool:
        self._directory.claim(session.node, self._holder(session))
        return True

    def enroll(self, session: ClusterSession) -> None:
        self._directory.enroll(session.node, self._holder(session))

    def release(self, session: ClusterSession) -> None:
        self._directory.release(session.node, self._holder(session))

    def _holder(self, session: ClusterSession) -> Holder:
        return Holder(self._unit, session.serial)

    # The other processes

    def handle(self, message: Message) -> None:
        unit, what = message.content
        if message.operation == protocol.ROSTER:
            self._directory.adopt(unit, what)
            self._heard_from(unit)
            return
        node, holder = node_of(message.resource), Holder(unit, what)
        if message.operation == protocol.CLAIM and not self._known.is_set():
            self._claims.append((node, holder))
        elif message.operation == protocol.CLAIM:
            self._answer_claim(node, holder)
        elif message.operation == protocol.ENROLL:
            self._directory.enroll(node, holder)
        elif message.operation == protocol.RELEASE:
            self._directory.release(node, holder)

    def forward(self, message: Message, node: str) -> bool:
        """As long as not all are heard from, a message goes to each of those that might hold it.

        A question does not: each of them would answer.
        """
        holder = self._directory.holder(node)
        if holder is not None and holder.unit != self._unit:
            self._put(holder.unit, message)
            return True
        if message.reply_to:
            return False
        for unit in list(self._unknown):
            self._put(unit, message)
        return bool(self._unknown)

    def _answer_claim(self, node: str, holder: Holder) -> None:
        try:
            self._directory.claim(node, holder)
        except HandshakeRefused as refused:
            self._put(
                holder.unit, process_message(protocol.REFUSE, [holder.serial, str(refused)], node)
            )
        else:
            self._put(holder.unit, process_message(protocol.GRANT, [holder.serial, ""], node))

    def _evict(self, node: str, holder: Holder) -> None:
        if holder.unit != self._unit:
            self._put(holder.unit, process_message(protocol.EVICT, [holder.serial, ""], node))
            return
        session = self._sessions.get(node)
        if session is not None and session.serial == holder.serial:
            session.replaced()

    def _heard_from(self, unit: str) -> None:
        self._unknown.discard(unit)
        if not self._unknown:
            self._known.set()

    def _outbox(self, context: ModuleContext, unit: str) -> ChannelSender[None]:
        def dropped(_message: Message, error: ChannelError) -> None:
            if isinstance(error, ModuleUnavailable | UnknownModule):
                self._forget(unit)

        return ChannelSender(
            f"process {unit}",
            lambda message: context.send(unit, message),
            sent=lambda _: None,
            dropped=dropped,
        )

    def _put(self, unit: str, message: Message) -> None:
        outbox = self._outboxes[unit]
        if len(outbox) < _MAX_WAITING:
            outbox.put(message, None)
            return
        log.error("%d messages wait for process %s: its edges start over", len(outbox), unit)
        outbox.clear()
        outbox.put(process_message(protocol.RESET, [0, "messages for this node were lost"]), None)
        self._forget(unit)

    def _forget(self, unit: str) -> None:
        """Take it that a process that takes no messages holds no node."""
        self._directory.adopt(unit, ())
        self._heard_from(unit)

"""The leader: the first of CloudHub's processes, and usually the only one."""

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

#: Seconds to wait for the rosters of the followers before edges are accepted.
_ROSTER: Final = 1.0
#: Messages queued for a follower whose channel is full; beyond that its edges must reconnect.
_MAX_WAITING: Final = 50_000


class Leader:
    """Implements Cluster for the leader: keeps the directory, and forwards to the followers.

    `sessions` maps node -> session of this process.
    """

    def __init__(
        self,
        context: ModuleContext,
        others: Sequence[str],
        limit: int,
        sessions: Mapping[str, ClusterSession],
        publish: Callable[[str, str, str], None],
    ) -> None:
        self._unit = context.name
        self._sessions = sessions
        self._directory = Directory(limit, publish=publish, evict=self._evict)
        self._senders = {unit: self._make_sender(context, unit) for unit in others}
        self._missing = set(others)
        self._claims: list[tuple[str, Holder]] = []
        self._all_known = asyncio.Event()
        if not others:
            self._all_known.set()

    def __len__(self) -> int:
        """Return the number of nodes that all processes hold."""
        return len(self._directory)

    async def run(self) -> None:
        for unit in self._senders:
            self._put(unit, process_message(protocol.CALL, [0, ""]))
        async with asyncio.TaskGroup() as tasks:
            for sender in self._senders.values():
                tasks.create_task(sender.run())

    async def joined(self) -> None:
        """Wait for the followers' rosters, at most _ROSTER seconds; later ones are adopted too."""
        try:
            async with asyncio.timeout(_ROSTER):
                await self._all_known.wait()
        except TimeoutError:
            log.info("no roster yet from: %s", ", ".join(sorted(self._missing)))
        self._all_known.set()
        for node, holder in self._claims:
            self._answer_claim(node, holder)
        self._claims.clear()

    async def drained(self) -> None:
        for sender in self._senders.values():
            await sender.idle.wait()

    # Sessions of this process

    def check(self, node: str) -> None:
        self._directory.check(node)

    def claim(self, session: ClusterSession) -> bool:
        self._directory.claim(session.node, self._holder(session))
        return True

    def enroll(self, session: ClusterSession) -> None:
        self._directory.enroll(session.node, self._holder(session), session.generation_name)

    def release(self, session: ClusterSession) -> None:
        self._directory.release(session.node, self._holder(session))

    def _holder(self, session: ClusterSession) -> Holder:
        return Holder(self._unit, session.serial)

    # Followers

    def handle(self, message: Message) -> None:
        if message.operation == protocol.ROSTER:
            unit, held = message.content
            self._directory.adopt(unit, held)
            self._heard_from(unit)
            return
        unit, serial, generation = message.content
        node, holder = node_of(message.resource), Holder(unit, serial)
        if message.operation == protocol.CLAIM and not self._all_known.is_set():
            self._claims.append((node, holder))
        elif message.operation == protocol.CLAIM:
            self._answer_claim(node, holder)
        elif message.operation == protocol.ENROLL:
            self._directory.enroll(node, holder, generation)
        elif message.operation == protocol.RELEASE:
            self._directory.release(node, holder)

    def forward(self, message: Message, node: str) -> bool:
        """Forward a message to the holder of its node; whether it was forwarded.

        If the holder is unknown, the message goes to every follower whose roster is missing. A
        question does not, since each of them would answer it.
        """
        holder = self._directory.holder(node)
        if holder is not None and holder.unit != self._unit:
            self._put(holder.unit, message)
            return True
        if message.reply_to:
            return False
        for unit in list(self._missing):
            self._put(unit, message)
        return bool(self._missing)

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
        self._missing.discard(unit)
        if not self._missing:
            self._all_known.set()

    def _make_sender(self, context: ModuleContext, unit: str) -> ChannelSender[None]:
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
        sender = self._senders[unit]
        if len(sender) < _MAX_WAITING:
            sender.put(message, None)
            return
        log.error(
            "process %s: queue full (%d messages); its edges have to reconnect", unit, len(sender)
        )
        sender.clear()
        sender.put(process_message(protocol.RESET, [0, "messages for this node were lost"]), None)
        self._forget(unit)

    def _forget(self, unit: str) -> None:
        """Record that a process that accepts no messages holds no node."""
        self._directory.adopt(unit, ())
        self._heard_from(unit)

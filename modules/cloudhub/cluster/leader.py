"""The leader: the first of CloudHub's processes, and usually the only one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from ipc import ChannelError, Message, ModuleUnavailable, UnknownModule
from modules.cloudhub.channel_sender import ChannelSender
from modules.cloudhub.cluster import protocol
from modules.cloudhub.cluster.directory import Directory, Holder
from modules.cloudhub.cluster.protocol import ClusterSession, process_message
from modules.cloudhub.endpoint.identity import HandshakeRefused
from modules.common.message_resource import node_of
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)

#: Seconds to wait for the rosters of the followers before edges are accepted.
_ROSTER: Final = 1.0
#: Messages queued for a follower whose channel is full; beyond that its edges must reconnect.
_MAX_WAITING: Final = 50_000


class Ownership(Protocol):
    """Which of several replicas holds a node (replicas/node_leases.py)."""

    def claim(self, node: str, done: Callable[[str], None], *, has_dialed: bool = True) -> bool:
        """Claim a node for this replica; whether it holds it already.

        If not, `done` is called later: with an empty text, or with the reason why it is not held.
        The node of a session that has not just dialed is not taken from another replica.
        """

    def left(self, node: str) -> None:
        """Note that a node has no session any more."""


class Leader:
    """Implements Cluster for the leader: keeps the directory, and forwards to the followers.

    `sessions` maps node -> session of this process. With an `ownership`, a session begins when
    this replica holds its node.
    """

    def __init__(
        self,
        context: ModuleContext,
        others: Sequence[str],
        limit: int,
        sessions: Mapping[str, ClusterSession],
        *,
        publish: Callable[[str, str, str], None],
        ownership: Ownership | None = None,
    ) -> None:
        self._unit = context.name
        self._ownership = ownership
        self._sessions = sessions
        self._directory = Directory(limit, publish=publish, evict=self._evict)
        self._senders = {unit: self._make_sender(context, unit) for unit in others}
        self._missing = set(others)
        self._claims: dict[tuple[str, Holder], None] = {}
        """claims of followers that wait for the rosters, in the order of their arrival"""
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
        claims, self._claims = self._claims, {}
        for node, holder in claims:
            self._answer_claim(node, holder)

    async def drained(self) -> None:
        for sender in self._senders.values():
            await sender.idle.wait()

    # Sessions of this process

    def check(self, node: str) -> None:
        self._directory.check(node)

    def claim(self, session: ClusterSession) -> bool:
        holder = self._holder(session)
        self._directory.claim(session.node, holder)
        return self._own(session.node, holder, lambda reason: _decide(session, reason))

    def enroll(self, session: ClusterSession) -> None:
        self._directory.enroll(session.node, self._holder(session), session.generation_name)

    def release(self, session: ClusterSession) -> None:
        self._release(session.node, self._holder(session))

    def _holder(self, session: ClusterSession) -> Holder:
        return Holder(self._unit, session.serial)

    # Followers

    def handle(self, message: Message) -> None:
        unit: str = message.content[0]
        if unit not in self._senders:
            # It waited in the channel when the number of processes became smaller.
            log.debug("process %s is none of this cloudhub: %s ignored", unit, message.operation)
            return
        if message.operation == protocol.ROSTER:
            _, held = message.content
            self._adopt(unit, held)
            for node, serial, _ in held:
                holder = Holder(unit, serial)
                evict = partial(self._evict_unless_owned, node, holder)
                self._own(node, holder, evict, has_dialed=False)
            return
        _, serial, generation = message.content
        node, holder = node_of(message.resource), Holder(unit, serial)
        if message.operation == protocol.CLAIM and not self._all_known.is_set():
            self._claims[node, holder] = None
        elif message.operation == protocol.CLAIM:
            self._answer_claim(node, holder)
        elif message.operation == protocol.ENROLL:
            self._directory.enroll(node, holder, generation)
        elif message.operation == protocol.RELEASE:
            self._claims.pop((node, holder), None)
            self._release(node, holder)

    def lost(self, node: str) -> None:
        """End the session of a node that another replica has taken over."""
        holder = self._directory.holder(node)
        if holder is not None:
            self._release(node, holder)
            self._evict(node, holder)

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
            self._send_decision(node, holder, str(refused))
        else:
            decide = partial(self._send_decision, node, holder)
            if self._own(node, holder, decide):
                decide("")

    def _send_decision(self, node: str, holder: Holder, reason: str) -> None:
        operation = protocol.REFUSE if reason else protocol.GRANT
        self._put(holder.unit, process_message(operation, [holder.serial, reason], node))

    def _own(
        self,
        node: str,
        holder: Holder,
        decide: Callable[[str], None],
        *,
        has_dialed: bool = True,
    ) -> bool:
        """Have this replica hold a node; if it does not yet, `decide` is called later."""
        if self._ownership is None:
            return True

        def done(reason: str) -> None:
            if self._directory.holder(node) == holder:
                decide(reason)

        return self._ownership.claim(node, done, has_dialed=has_dialed)

    def _evict_unless_owned(self, node: str, holder: Holder, reason: str) -> None:
        if reason:
            self._release(node, holder)
            self._evict(node, holder)

    def _release(self, node: str, holder: Holder) -> None:
        self._directory.release(node, holder)
        self._let_go(node)

    def _let_go(self, node: str) -> None:
        """Have this replica hold a node no more, if no session does."""
        if self._ownership is not None and self._directory.holder(node) is None:
            self._ownership.left(node)

    def _evict(self, node: str, holder: Holder) -> None:
        if holder.unit != self._unit:
            self._put(holder.unit, process_message(protocol.EVICT, [holder.serial, ""], node))
            return
        session = self._sessions.get(node)
        if session is not None and session.serial == holder.serial:
            session.replaced()

    def _adopt(self, unit: str, held: Iterable[tuple[str, int, str]]) -> None:
        """Record all that a process holds; what it claimed before, it claims again."""
        self._claims = {claim: None for claim in self._claims if claim[1].unit != unit}
        for node in self._directory.adopt(unit, held):
            self._let_go(node)
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
        self._adopt(unit, ())


def _decide(session: ClusterSession, reason: str) -> None:
    if reason:
        session.refused(reason, "lease")
    else:
        session.granted()

"""Sending updates to nodes: takes targets that are due, and sends their present state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ipc import Message, MessageTooLarge
from modules.common.kube import Object, SetAside, Subject, Unreachable, reference
from modules.common.sync.journal import Item
from modules.common.sync.record import DENIED, EVERY_NODE
from modules.common.sync.takeovers import Takeovers
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.decisions import Decisions, holder_of, whole_of
from modules.edgecontroller.downstream.due import Pending, Target
from modules.edgecontroller.downstream.refusals import Refusals
from modules.edgecontroller.downstream.state import FOR_EVERY_NODE, LISTED, State, list_of
from modules.edgecontroller.downstream.unacknowledged import Sent, Unacknowledged
from modules.edgecontroller.messages import DELETE, INSERT, NODE, POD, PODLIST, SERVICE
from modules.edgecontroller.metrics import SYNC_LATENCY
from modules.edgecontroller.objects import (
    RESOURCES,
    node_digest,
    pod_changed,
    uid_of,
    version_of,
)

#: Targets decided together, with one write of the record.
_BATCH = 64

#: Targets sent before other tasks, such as answers, get a turn.
_TURN = 16

#: The types of lists and of their members.
_IN_LISTS = frozenset((*LISTED, *LISTED.values(), PODLIST))

#: The uid of a list, which has none.
_A_LIST = "list"

#: The limit of the objects per node that are recorded as denied.
_MOST_DENIED = 64

#: Seconds after which an edge has surely stored an answer.
_KEPT = 5.0


#: Seconds until a message is decided again whose row could not be written.
_AGAIN = 5.0

Decided = tuple[Target, Pending, list[Message]]

log = logging.getLogger(__name__)


class NodeUpdater:
    """The only sender of updates, so each node gets them in the order of the decisions."""

    def __init__(
        self,
        state: State,
        cloudhub: CloudHubClient,
        set_aside: SetAside,
        read_node: Callable[[str], None] = lambda _: None,
        *,
        read_whole: Callable[[Item], None] = lambda _: None,
        takeovers: Takeovers | None = None,
    ) -> None:
        """Set up; `read_node` and `read_whole` are those of Decisions.

        With several replicas, `takeovers` writes rows of the record to the API before messages
        about them are sent.
        """
        self._takeovers = takeovers
        self._state = state
        self._cloudhub = cloudhub
        self._set_aside = set_aside
        #: Targets that have been set aside; they are retried when they are due again.
        self._unsent: set[Target] = set()
        self._decisions = Decisions(state, read_node, read_whole)
        self._unacknowledged = Unacknowledged(state)
        #: Nodes whose connection has ended since the present batch was decided.
        self._ended: set[str] = set()
        #: Targets of which a message has been decided, and not been sent yet.
        self._decided: set[Target] = set()
        self._latencies: list[float] = []
        self._refusals = Refusals(state)

    async def run(self) -> None:
        """Send updates until cancelled."""
        due = self._state.due
        while True:
            batch = await due.batch(_BATCH)
            self._ended.clear()
            decided = [(*each, self._prepare(*each)) for each in batch]
            self._decided = {target for target, _, made in decided if made}
            self._state.record.commit()
            if self._takeovers is not None:
                decided = await self._recorded(self._takeovers, decided)
            for number, (target, pending, made) in enumerate(decided, 1):
                if target.node not in self._ended:
                    await self._send(target, pending, made)
                self._decided.discard(target)
                due.settle(target, pending)
                if number % _TURN == 0:
                    await asyncio.sleep(0)  # a send that finds room does not yield to other tasks

    async def _recorded(self, takeovers: Takeovers, decided: list[Decided]) -> list[Decided]:
        """Return what can be sent, since the record in the API has it; the rest is due later."""
        late = await takeovers.weaken(
            row for target, _, made in decided if made for row in self._rows_of(target)
        )
        sent = []
        for target, pending, made in decided:
            if not made or late.isdisjoint(self._rows_of(target)):
                sent.append((target, pending, made))
                continue
            self._decided.discard(target)
            self._state.due.settle(target, pending)
            mark = partial(self._state.due.mark, target, last=pending.last)
            asyncio.get_running_loop().call_later(_AGAIN, mark)
        return sent

    def _rows_of(self, target: Target) -> Iterator[tuple[str, Item]]:
        """Return the rows that a message about a target changes."""
        yield holder_of(target), target.item
        if listed := LISTED.get(target.type):
            for key in self._state.stores[listed]:
                yield EVERY_NODE, (listed, *key)

    def unsure(self, node: str, item: Item) -> None:
        """Send an object again: another replica has written what the node has of it."""
        target = Target(node, *item)
        self._unacknowledged.remove(target)
        self._state.record.doubt_row(node, item)
        if self._state.live and self._state.reachable(node):
            self._state.due.mark(target)

    def measure(self) -> None:
        """Export the latencies at once, since a single observation is expensive."""
        for latency in self._latencies:
            SYNC_LATENCY.observe(latency)
        self._latencies.clear()

    def acknowledged(self, target: Target, message_id: str) -> None:
        """Record that a node has handled a message: it has the object, or has deleted it.

        Once a later message about it has been decided, only the answer to that counts: the record
        is not sure of the object any more, and has to say so when that message is sent.
        """
        self._refusals.acknowledged(target)
        sent = self._unacknowledged.get(target)
        if sent is None or sent.message_id != message_id:
            return
        self._unacknowledged.remove(target)
        if target in self._decided:
            return
        record = self._state.record
        if target.type in FOR_EVERY_NODE:
            self._acknowledge_list(target)
        elif sent.content is None:
            record.remove(target.node, [target.item])
            self._send_successor(target)
        else:
            record.acknowledge(target.node, target.item, self._version_acknowledged(target, sent))
        if sent.doubtful:
            self._state.due.mark(target)  # as an update

    def _send_successor(self, target: Target) -> None:
        """Make due the object that now has the name of one that an edge of today has deleted."""
        if not self._state.is_of_today(target.node) or target.type not in self._state.stores:
            return
        if self._state.desired(target):
            self._state.due.mark(target)

    def refused(self, target: Target, message_id: str, reason: str) -> None:
        """Schedule a message that a node could not handle to be sent again.

        Unless a newer message about the same object is in flight.
        """
        sent = self._unacknowledged.get(target)
        if sent is not None and sent.message_id == message_id:
            self._unacknowledged.remove(target)
            self._refusals.refused(target, reason)

    def asked(self, target: Target) -> None:
        """Note that a node asks for an object, which shows that its database does not have it.

        If the node has acknowledged it, the database has lost it. The answer brings it back; should
        the answer get lost, the object is sent when the node connects the next time.
        """
        record = self._state.record
        if self._state.is_of_today(target.node) and record.seen(target.node, target.item):
            record.acknowledge(target.node, target.item, "")

    async def answered(self, target: Target, obj: Object) -> None:
        """Record that a node gets an object as the answer to a query, and stores it.

        Raises Unreachable if one of several replicas cannot write that in time.
        """
        if not self._state.is_of_today(target.node):
            self._unacknowledged.remove(target)
        self._state.record.tell(target.node, target.item, uid_of(obj))
        self._state.record.commit()
        if self._takeovers is None:
            return
        if await self._takeovers.weaken([(target.node, target.item)]):
            raise Unreachable("what the node has could not be written in time")

    def denied(self, target: Target) -> None:
        """Record that a node was denied an object: an edge of v1.1 stores the denial in its place.

        (processRemoteQuery in edge/pkg/metamanager/msg_processor.go; later versions store nothing.)
        So the node may have something of that name: it is sent a delete once the denial has surely
        been stored, and, should it come to need the object, an update instead of an insert.
        """
        state, node = self._state, target.node
        if target.type not in state.stores or not state.reachable(node):
            return
        if self._state.is_of_today(node):
            return
        rows = state.record.items(node)
        noted = sum(row.uid == DENIED for row in rows.values())
        if target.item in rows or noted >= _MOST_DENIED:
            return
        state.record.tell(node, target.item, DENIED)
        state.record.commit()
        asyncio.get_running_loop().call_later(_KEPT, state.due.mark, target)

    def disconnected(self, node: str) -> None:
        """Forget the messages in flight to a node, and send none that was decided before."""
        self._ended.add(node)
        self._unacknowledged.forget(node)
        self._refusals.disconnected(node)

    def _version_acknowledged(self, target: Target, sent: Sent) -> str:
        """Return the version that the node has, including changes that are not sent to edges."""
        if target.type == POD:
            pod = self._state.desired(target)
            if pod and not pod_changed(sent.content, self._decisions.form(target.node)(POD, pod)):
                return version_of(pod)
        return sent.version

    def _acknowledge_list(self, target: Target) -> None:
        """Acknowledge the list's version if the node has the list and every change since."""
        state, node = self._state, target.node
        whole = list_of(target)
        if (
            state.record.seen(node, whole.item)
            and not self._unacknowledged.any_of(node, target.type)
            and not state.due.has(node, target.type)
        ):
            state.record.acknowledge(node, whole.item, state.version(whole))

    def _prepare(self, target: Target, pending: Pending) -> list[Message]:
        """Decide what to send, and record it in the record before it is sent."""
        try:
            made = self._decisions.decide(target, pending)
            self._record(target, made)
        except Exception as error:
            self._put_aside(target, error)
            return []
        return made

    async def _send(self, target: Target, pending: Pending, made: list[Message]) -> None:
        try:
            for message in made:
                self._expect_answer(target, pending, message)
                await self._cloudhub.send(message)
        except Exception as error:
            self._unacknowledged.remove(target)
            if isinstance(error, MessageTooLarge) and target.type in LISTED:
                self._send_one_by_one(target)
            else:
                self._put_aside(target, error)
        else:
            if made:
                self._latencies.append(time.monotonic() - pending.since)
            if target in self._unsent:
                self._unsent.discard(target)
                self._set_aside.end(self._subject(target), used=True)

    def _send_one_by_one(self, target: Target) -> None:
        """Make the objects of a list due singly: together they are too large for a message."""
        listed = LISTED[target.type]
        log.warning("%s: too large for one message; its objects are sent singly", target.resource)
        for key in self._state.stores[listed]:
            self._state.due.mark(Target(target.node, listed, *key))

    def _put_aside(self, target: Target, error: Exception) -> None:
        self._unsent.add(target)
        self._set_aside.put(self._subject(target), error)

    def _subject(self, target: Target) -> Subject:
        kind = SERVICE if target.type in (PODLIST, *LISTED) else target.type
        resource, about = RESOURCES.get(kind), self._state.known(target._replace(type=kind))
        involved = reference(resource, about) if resource and about else None
        name = f"{'/'.join(target[1:])} for node {target.node}"
        return Subject(resource.plural if resource else kind, name, involved)

    def _expect_answer(self, target: Target, pending: Pending, message: Message) -> None:
        content, version = message.content, ""
        if message.operation == DELETE:
            content = None
        elif target.type == NODE:
            version = f"{node_digest(content)}@{version_of(content)}"
        elif isinstance(content, dict):
            version = version_of(content)
        else:
            version = self._state.version(target)
        unrecorded = target.node in self._state.unrecorded_nodes
        doubtful = unrecorded and message.operation == INSERT and not pending.fresh
        self._unacknowledged.add(target, Sent(message.id, content, version, doubtful))

    def _record(self, target: Target, made: list[Message]) -> None:
        """Record in the record what is about to be sent, and mark the lists it changes as stale."""
        for message in made:
            if message.operation != DELETE:
                self._record_update(target, message.content)
            else:
                self._state.record.about_to_delete(target.node, target.item)
        if made and target.type in _IN_LISTS:
            whole = whole_of(target)
            self._state.record.doubt(whole.node, whole.item)

    def _record_update(self, target: Target, content: Any) -> None:
        """Record in the record what the target's node has after this update."""
        record = self._state.record
        if not isinstance(content, list):
            record.tell(holder_of(target), target.item, uid_of(content))
            if target.type == NODE:  # whose hash may be that of an earlier state
                record.about_to_change(target.node, target.item)
            return
        record.tell(target.node, target.item, _A_LIST)
        if listed := LISTED.get(target.type):
            for key, obj in self._state.stores[listed].items():
                record.tell(EVERY_NODE, (listed, *key), uid_of(obj))

"""Telling the nodes: takes what is due and sends what the API has of it now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import Any, NamedTuple

from ipc import Message, MessageTooLarge
from modules.common.kube import Object, SetAside, Subject, reference
from modules.edgecontroller import messages
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.due import (
    Pending,
    Target,
)
from modules.edgecontroller.downstream.ledger import EVERY_NODE
from modules.edgecontroller.downstream.references import Item
from modules.edgecontroller.downstream.refusals import Refusals
from modules.edgecontroller.downstream.state import (
    FOR_EVERY_NODE,
    LISTED,
    State,
    list_of,
)
from modules.edgecontroller.messages import (
    DELETE,
    INSERT,
    POD,
    PODLIST,
    SECRET,
    SERVICE,
    UPDATE,
)
from modules.edgecontroller.metrics import SYNC_LATENCY
from modules.edgecontroller.objects import (
    RESOURCES,
    placeholder,
    placeholder_pod,
    pod_changed,
    uid_of,
    version_of,
)

#: Targets decided together, so that the ledger is written once for all of them.
_BATCH = 64

#: So many of them are sent until others have their turn, such as answers.
_TURN = 16

#: The types that are a list of a node's, or in one.
_IN_LISTS = frozenset((*LISTED, *LISTED.values(), PODLIST))

#: The uid of a list, which has none.
_A_LIST = "list"

#: The uid of an object that a node was denied, and how many of them are noted of a node.
_DENIED = "denied"
_MOST_DENIED = 64

#: Seconds in which an edge has surely kept an answer.
_KEPT = 5.0


log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """A message on its way to a node, or handled there and not yet acknowledged."""

    message_id: str
    #: What the node has then; None: nothing, the object is deleted.
    content: Any
    version: str
    #: An insert, of which the node has stored nothing if it had an object of that name.
    doubtful: bool = False


class NodeUpdater:
    """The one cloudhub of the downstream: each node gets its messages in the order decided."""

    def __init__(self, state: State, cloudhub: CloudHubClient, set_aside: SetAside) -> None:
        self._state = state
        self._cloudhub = cloudhub
        self._set_aside = set_aside
        #: Targets that have been set aside; they are tried again when they are due again.
        self._unsent: set[Target] = set()
        #: The last message about each item that a node has not acknowledged.
        self._awaited: defaultdict[str, dict[Item, Sent]] = defaultdict(dict)
        self._latencies: list[float] = []
        self._refusals = Refusals(state)

    async def run(self) -> None:
        """Deliver for ever."""
        due = self._state.due
        while True:
            batch = await due.batch(_BATCH)
            decided = [(*each, self._prepare(*each)) for each in batch]
            self._state.ledger.commit()
            for number, (target, pending, made) in enumerate(decided, 1):
                await self._send(target, pending, made)
                due.settle(target, pending)
                if number % _TURN == 0:
                    await asyncio.sleep(0)  # a send that finds room does not yield to other tasks

    def measure(self) -> None:
        """Bring the metric up to date: in one go, since a single observation is expensive."""
        for latency in self._latencies:
            SYNC_LATENCY.observe(latency)
        self._latencies.clear()

    def acknowledged(self, target: Target, message_id: str) -> None:
        """Take note that a node has handled a message: it has the object, or no longer has it."""
        self._refusals.acknowledged(target)
        awaited = self._awaited.get(target.node, {})
        sent = awaited.get(target.item)
        if sent is None or sent.message_id != message_id:
            return
        del awaited[target.item]
        ledger = self._state.ledger
        if target.type in FOR_EVERY_NODE:
            self._acknowledge_list(target)
        elif sent.content is None:
            ledger.remove(target.node, [target.item])
        else:
            ledger.acknowledge(target.node, target.item, self._version_acknowledged(target, sent))
        if sent.doubtful:
            self._state.due.mark(target)  # as an update

    def refused(self, target: Target, message_id: str, reason: str) -> None:
        """Take note that a node could not handle a message: it is told again.

        Not of one that another message about the same has followed, which is awaited.
        """
        awaited = self._awaited.get(target.node, {})
        sent = awaited.get(target.item)
        if sent is not None and sent.message_id == message_id:
            del awaited[target.item]
            self._refusals.refused(target, reason)

    def answered(self, target: Target, obj: Object) -> None:
        """Take note that a node has got an object as the answer to a query: it keeps it."""
        self._awaited[target.node].pop(target.item, None)
        self._state.ledger.tell(target.node, target.item, uid_of(obj))
        self._state.ledger.commit()

    def denied(self, target: Target) -> None:
        """Take note that a node was denied an object: a v1.1 edge keeps the answer in its place.

        (processRemoteQuery in edge/pkg/metamanager/msg_processor.go; later ones keep nothing.) So
        it counts as one that the node may have: it is told to delete it, once it has surely kept
        it, and gets an update, not an insert, should it need the object.
        """
        state, node = self._state, target.node
        if target.type not in state.stores or not state.reachable(node):
            return
        rows = state.ledger.items(node)
        noted = sum(row.uid == _DENIED for row in rows.values())
        if target.item in rows or noted >= _MOST_DENIED:
            return
        state.ledger.tell(node, target.item, _DENIED)
        state.ledger.commit()
        asyncio.get_running_loop().call_later(_KEPT, state.due.mark, target)

    def disconnected(self, node: str) -> None:
        """Wait for no more of a node's acknowledgements."""
        self._awaited.pop(node, None)
        self._refusals.disconnected(node)

    def _version_acknowledged(self, target: Target, sent: Sent) -> str:
        """Return what the node is up to date with: also with changes that are no news to it."""
        if target.type == POD:
            pod = self._state.desired(target)
            if pod and pod is not sent.content and not pod_changed(sent.content, pod):
                return self._state.version(target)
        return sent.version

    def _acknowledge_list(self, target: Target) -> None:
        """Note that a node which has had the list has had all its changes, if it has."""
        state, node = self._state, target.node
        whole = list_of(target)
        if (
            state.ledger.seen(node, whole.item)
            and not any(type_ == target.type for type_, *_ in self._awaited[node])
            and not state.due.has(node, target.type)
        ):
            state.ledger.acknowledge(node, whole.item, state.version(whole))

    def decide(self, target: Target, pending: Pending) -> list[Message]:
        """Make the messages that bring a node up to date with a target."""
        state = self._state
        if not state.reachable(target.node) or (pending.unless_seen and self._has_seen(target)):
            return []
        if target.type in LISTED:
            return [_change(UPDATE, target, list(state.stores[LISTED[target.type]].values()))]
        if target.type == PODLIST:
            pods = state.pods_of_service(target.namespace, target.name)
            return [] if pods is None else [_change(UPDATE, target, pods)]
        return self._decide_object(target, pending)

    def _has_seen(self, target: Target) -> bool:
        """Whether a node has acknowledged the present state of a target."""
        whole = _whole(target)
        version = self._state.version(whole)
        return bool(version) and self._state.ledger.seen(whole.node, whole.item) == version

    def _decide_object(self, target: Target, pending: Pending) -> list[Message]:
        obj = self._state.desired(target)
        told = self._state.ledger.uid(_holder(target), target.item)
        if obj is None:
            keeps = told is None or self._state.is_aside(target.item)
            return [] if keeps else [self._delete(target, pending)]
        if target.type == POD and told is not None and told != uid_of(obj):
            # Another pod of the same name: the edge would take an update for the old one's.
            return [self._delete(target, pending), _change(INSERT, target, obj)]
        return [_change(_operation(target, pending, obj, told), target, obj)]

    def _delete(self, target: Target, pending: Pending) -> Message:
        # What is still in the API, this node has no right to: another's pod, a secret it once used.
        return _change(DELETE, target, pending.last or _placeholder(target))

    def _prepare(self, target: Target, pending: Pending) -> list[Message]:
        """Decide what to send, and note it in the ledger before it is sent."""
        try:
            made = self.decide(target, pending)
            self._record(target, made)
        except Exception as error:
            self._put_aside(target, error)
            return []
        return made

    async def _send(self, target: Target, pending: Pending, made: list[Message]) -> None:
        try:
            for message in made:
                self._note(target, pending, message)
                await self._cloudhub.send(message)
        except Exception as error:
            self._awaited[target.node].pop(target.item, None)
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
        """Make all objects of a list due that no message can carry: an edge takes them so too."""
        listed = LISTED[target.type]
        log.warning(f"{target.resource} is too large for one message: its objects are sent singly")
        for key in self._state.stores[listed]:
            self._state.due.mark(Target(target.node, listed, *key))

    def _put_aside(self, target: Target, error: Exception) -> None:
        self._unsent.add(target)
        self._set_aside.put(self._subject(target), error)

    def _subject(self, target: Target) -> Subject:
        kind = SERVICE if target.type in (PODLIST, *LISTED) else target.type
        about = self._state.stores[kind].get((target.namespace, target.name))
        involved = reference(RESOURCES[kind], about) if about else None
        return Subject(
            RESOURCES[kind].plural, f"{'/'.join(target[1:])} for node {target.node}", involved
        )

    def _note(self, target: Target, pending: Pending, message: Message) -> None:
        content, version = message.content, ""
        if message.operation == DELETE:
            content = None
        elif isinstance(content, dict):
            version = version_of(content)
        else:
            version = self._state.version(target)
        unrecorded = target.node in self._state.unrecorded_nodes
        doubtful = unrecorded and message.operation == INSERT and not pending.fresh
        self._awaited[target.node][target.item] = Sent(message.id, content, version, doubtful)

    def _record(self, target: Target, made: list[Message]) -> None:
        """Note in the ledger what is about to be sent, and which lists of nodes it changes."""
        for message in made:
            if message.operation != DELETE:
                self._tell(target, message.content)
        if made and target.type in _IN_LISTS:
            whole = _whole(target)
            self._state.ledger.doubt(whole.node, whole.item)

    def _tell(self, target: Target, content: Any) -> None:
        """Note in the ledger what a target's node has when it is told this."""
        ledger = self._state.ledger
        if not isinstance(content, list):
            ledger.tell(_holder(target), target.item, uid_of(content))
            return
        ledger.tell(target.node, target.item, _A_LIST)
        if listed := LISTED.get(target.type):
            for key, obj in self._state.stores[listed].items():
                ledger.tell(EVERY_NODE, (listed, *key), uid_of(obj))


def _operation(target: Target, pending: Pending, obj: Object, told: str | None) -> str:
    """Choose insert or update as KubeEdge does, by what the node may have.

    A v1.1 edge stores an insert only if it has no object of that name, and an update always; it
    gives a pod its devices (GPUs) on insert alone.
    """
    if target.type in FOR_EVERY_NODE:
        return INSERT if pending.fresh else UPDATE
    if target.type == SECRET or told is not None or obj["metadata"].get("deletionTimestamp"):
        return UPDATE
    return INSERT


def _whole(target: Target) -> Target:
    """Return what a node acknowledges a version of: the list, for what is in one."""
    return list_of(target) if target.type in FOR_EVERY_NODE else target


def _holder(target: Target) -> str:
    return EVERY_NODE if target.type in FOR_EVERY_NODE else target.node


def _change(operation: str, target: Target, content: Object | list[Object]) -> Message:
    return messages.change(operation, target.resource, content)


def _placeholder(target: Target) -> Object:
    if target.type == POD:
        return placeholder_pod(target.namespace, target.name)
    return placeholder(target.namespace, target.name)

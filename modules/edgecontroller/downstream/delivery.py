"""Telling the nodes: takes what is due from the outbox and sends what the API has of it now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ipc import Message
from modules.edgecontroller import messages
from modules.edgecontroller.downstream.ledger import EVERY_NODE, Told
from modules.edgecontroller.downstream.outbox import Pending, Target
from modules.edgecontroller.downstream.view import View, for_every_node
from modules.edgecontroller.messages import (
    DELETE,
    ENDPOINTS,
    ENDPOINTSLIST,
    INSERT,
    POD,
    PODLIST,
    SECRET,
    SERVICE,
    SERVICELIST,
    UPDATE,
)
from modules.edgecontroller.objects import Object, placeholder, placeholder_pod
from modules.edgecontroller.sending import Sender

#: Targets decided together, so that the ledger is written once for all of them.
_BATCH = 64

_LISTED = {SERVICELIST: SERVICE, ENDPOINTSLIST: ENDPOINTS}


class Delivery:
    """The one sender of the downstream: each node gets its messages in the order decided."""

    def __init__(self, view: View, sender: Sender) -> None:
        self._view = view
        self._sender = sender
        #: Deletes that their nodes have not acknowledged, with the message's id.
        self._deleting: dict[Target, str] = {}

    async def run(self) -> None:
        """Deliver for ever."""
        outbox = self._view.outbox
        while True:
            batch = await outbox.batch(_BATCH)
            decided = [(due, self.decide(*due)) for due in batch]
            self._view.ledger.add(
                row for (target, _), made in decided for row in self._to_be_told(target, made)
            )
            for (target, pending), made in decided:
                for message in made:
                    self._note(target, message)
                    await self._sender.send(message)
                outbox.settle(target, pending)
            await asyncio.sleep(0)  # a send that finds room does not yield to other tasks

    def acknowledged(self, target: Target, message_id: str) -> None:
        """Take note that a node has handled a message: a deleted object is off it now."""
        if self._deleting.get(target) == message_id:
            del self._deleting[target]
            self._view.ledger.remove(target.node, [target.item])

    def answered(self, target: Target, obj: Object) -> None:
        """Take note that a node has got an object as the answer to a query: it keeps it."""
        self._deleting.pop(target, None)
        self._view.ledger.add([Told(target.node, target.item, _uid(obj))])

    def decide(self, target: Target, pending: Pending) -> list[Message]:
        """Make the messages that bring a node up to date with a target."""
        view = self._view
        if not view.reachable(target.node):
            return []
        if target.type in _LISTED:
            return [_change(UPDATE, target, list(view.stores[_LISTED[target.type]].values()))]
        if target.type == PODLIST:
            pods = view.pods_of_service(target.namespace, target.name)
            return [] if pods is None else [_change(UPDATE, target, pods)]
        return self._decide_object(target, pending)

    def _decide_object(self, target: Target, pending: Pending) -> list[Message]:
        obj = self._view.desired(target)
        told = self._view.ledger.uid(_holder(target), target.item)
        if obj is None:
            return [] if told is None else [self._delete(target, pending)]
        if target.type == POD and told is not None and told != _uid(obj):
            # Another pod of the same name: the edge would take an update for the old one's.
            return [self._delete(target, pending), _change(INSERT, target, obj)]
        return [_change(_operation(target, pending, obj, told), target, obj)]

    def _delete(self, target: Target, pending: Pending) -> Message:
        last = pending.last or self._view.stores[target.type].get((target.namespace, target.name))
        return _change(DELETE, target, last or _placeholder(target))

    def _note(self, target: Target, message: Message) -> None:
        if message.operation == DELETE and not for_every_node(target.type):
            self._deleting[target] = message.id
        else:
            self._deleting.pop(target, None)

    def _to_be_told(self, target: Target, made: Iterable[Message]) -> Iterable[Told]:
        for message in made:
            if message.operation == DELETE or target.type == PODLIST:
                continue
            listed = _LISTED.get(target.type)
            if listed is None:
                yield Told(_holder(target), target.item, _uid(message.content))
                continue
            for key, obj in self._view.stores[listed].items():
                yield Told(EVERY_NODE, (listed, *key), _uid(obj))


def _operation(target: Target, pending: Pending, obj: Object, told: str | None) -> str:
    """Choose insert or update as KubeEdge does, by what the node may have.

    A v1.1 edge stores an insert only if it has no object of that name, and an update always.
    """
    if for_every_node(target.type):
        return INSERT if pending.fresh else UPDATE
    if target.type == SECRET or told is not None or obj["metadata"].get("deletionTimestamp"):
        return UPDATE
    return INSERT


def _holder(target: Target) -> str:
    return EVERY_NODE if for_every_node(target.type) else target.node


def _change(operation: str, target: Target, content: Object | list[Object]) -> Message:
    return messages.change(operation, target.resource, content)


def _placeholder(target: Target) -> Object:
    if target.type == POD:
        return placeholder_pod(target.namespace, target.name)
    return placeholder(target.namespace, target.name)


def _uid(obj: Object) -> str:
    uid: str = obj["metadata"].get("uid", "")
    return uid

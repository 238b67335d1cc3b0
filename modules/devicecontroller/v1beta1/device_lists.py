"""The lists of devices that nodes have: whole for those that ask, and changed as devices move.

As in cloud/pkg/devicecontroller/controller (dealMembershipGetDetail in upstream.go, addToMembership
in downstream.go). An edge asks on every new connection. Without its entry in the list it knows
nothing of a device's values; the device itself is another message.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, NamedTuple

import ipc
from modules.common.sync.journal import Item
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.v1beta1 import messages
from modules.devicecontroller.v1beta1.decisions import Decisions
from modules.devicecontroller.v1beta1.in_flight import NodeInFlight

#: Limit of devices in one message that adds or removes them.
_MOST: Final = 100

log = logging.getLogger(__name__)


class ListRequest(NamedTuple):
    """What a node is sent its whole list of devices for."""

    #: The id of its question, if it has asked, and what the answer repeats of it.
    question_id: str = ""
    event_id: str = ""
    #: Called when the list has been sent, or is not needed any more.
    done: Callable[[], None] = lambda: None


class DeviceLists:
    """Sends one node after the other its list, when it is its turn."""

    def __init__(
        self,
        decisions: Decisions,
        edges: Edges,
        in_flight: Callable[[str], NodeInFlight],
        *,
        send: Callable[[ipc.Message], Awaitable[None]],
        write_first: Callable[[str, Collection[Item]], Awaitable[set[Item] | None]],
        put_aside: Callable[[str, Exception], None],
    ) -> None:
        """Set up; `in_flight` returns what is in flight to a node, and what its list has.

        `write_first` has written what a message to a node about some devices changes of the record.
        It returns those that could not be written, which come later, and None if the node is not
        here any more, on the same connection.
        """
        self._decisions = decisions
        self._edges = edges
        self._in_flight = in_flight
        self._send = send
        self._write_first = write_first
        self._put_aside = put_aside
        self._requests: dict[str, list[ListRequest]] = {}

    def request(self, node: str, request: ListRequest) -> None:
        """Note a request, unless it is a repeated one: edges repeat what is not confirmed."""
        waiting = self._requests.setdefault(node, [])
        if request.question_id in [each.question_id for each in waiting]:
            request.done()
        else:
            waiting.append(request)

    def drop(self, node: str) -> None:
        """Forget the requests of a node that has disconnected: it asks again."""
        for request in self._requests.pop(node, ()):
            request.done()

    async def answer(self, node: str) -> None:
        """Send a node what it has asked for; raises ChannelErrors."""
        while self._edges.are_connected(node) and (waiting := self._requests.get(node)):
            request = waiting[0]
            try:
                if not await self._send_whole(node, request):
                    continue  # the node has begun anew, or has gone with its requests
            except ipc.ChannelError as error:
                if not isinstance(error, ipc.MessageTooLarge | ipc.NotAMessage):
                    raise
                self._put_aside(node, error)
            except Exception as error:
                self._put_aside(node, error)
            if self._requests.get(node) is waiting:
                waiting.remove(request)
                request.done()
        if not self._requests.get(node):
            self._requests.pop(node, None)

    async def update(self, node: str, known: NodeInFlight) -> None:
        """Tell a node which devices it has got, and which it has no more; raises ChannelErrors."""
        while due := known.next_members(_MOST):
            try:
                if not await self._send_changes(node, known, due):
                    return
            except ipc.ChannelError:
                known.members.update(dict.fromkeys(due))  # the next attempt decides anew
                raise

    async def _send_whole(self, node: str, request: ListRequest) -> bool:
        """Confirm a node's question for its list, and send the list; return whether it is sent."""
        known = self._in_flight(node)
        # An edge of another version may have devices that only Go's cloud tells it.
        listed = None if self._edges.is_other(node) else self._decisions.members(node)
        failed = await self._write_first(node, self._decisions.items(node))
        if failed is None:
            return False
        if request.question_id:
            await self._send(messages.confirmation(node, request.question_id))
        if listed is not None:
            listed = [item for item in listed if item not in failed or item in known.listed]
            entries = [self._decisions.describe(node, item) for item in listed]
            await self._send(messages.detail(node, entries, request.event_id))
            known.listed = set(listed)
        return True

    async def _send_changes(self, node: str, known: NodeInFlight, due: Iterable[Item]) -> bool:
        """Send which of these devices are new in the list, and which are gone from it.

        Returns whether to go on with the node now.
        """
        added, removed = self._decisions.changed_members(node, due, known.listed)
        if not added and not removed:
            return True
        failed = await self._write_first(node, added + removed)
        if failed is None:
            return False
        added = [item for item in added if item not in failed]
        removed = [item for item in removed if item not in failed]
        if not added and not removed:
            return True
        gone = [item for item in removed if not self._decisions.gives_its_id(node, item)]
        new_entries = [self._decisions.describe(node, item) for item in added]
        old_entries = [self._decisions.describe(node, item) for item in gone]
        await self._send(messages.membership(node, new_entries, old_entries))
        known.list_changed(added, removed)
        for device in new_entries:
            log.info("device %s: is added to node %s", device["id"], node)
        for device in old_entries:
            log.info("device %s: is gone from node %s", device["id"], node)
        return True

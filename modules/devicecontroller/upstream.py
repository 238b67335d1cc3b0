"""Messages from the edges: requests for membership, and reported twins.

As in cloud/pkg/devicecontroller/controller/upstream.go. In addition `membership/detail` is
answered, and every message is acknowledged with `OK`, as KubeEdge does since v1.2. An edge resends
what is not acknowledged. Edges of today know devices of v1beta1 only, and are not sent any here.
"""

from __future__ import annotations

import logging
from typing import Final

import ipc
from modules.common import message_resource
from modules.common.kube import NODES, BadObject, SetAside, Subject, reference
from modules.common.sync.in_flight import InFlight
from modules.common.wire.generations import generation_of
from modules.devicecontroller.v1alpha1 import (
    membership,
    twin,
)
from modules.devicecontroller.v1alpha1.reported_values import (
    Reports,
    StatusWriter,
)
from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot
from modules.devicecontroller.v1alpha1.sync.node_sync import (
    GROUP,
    SOURCE,
    NodeSync,
    Request,
)
from supervisor.api import ModuleContext

#: Seconds after which a node that has connected gets its devices without having asked for them.
#: Edges of v1.1 ask at once.
_ASK_WITHIN: Final = 5.0

#: Limit of an operation and of a resource in an error message, in characters.
_LONGEST: Final = 300

log = logging.getLogger(__name__)


class Upstream:
    """Takes the module's messages and dispatches each to its handler.

    A message stays in the channel until it is handled, so a crash of this module loses none.
    """

    def __init__(
        self,
        context: ModuleContext,
        node_sync: NodeSync,
        writer: StatusWriter,
        set_aside: SetAside,
        *,
        limit: int,
    ) -> None:
        """Set up; at most `limit` messages are in flight, the others stay in the channel."""
        self._context = context
        self._node_sync = node_sync
        self._writer = writer
        self._set_aside = set_aside
        self._in_flight = InFlight(limit)

    async def run(self) -> None:
        """Take messages until the module is asked to stop."""
        while True:
            await self._in_flight.room()
            try:
                delivery = await self._context.take()
            except ipc.Closed:
                return
            self._in_flight.begin()
            try:
                self._dispatch(delivery)
            except Exception as error:
                self._put_aside(delivery.message, error)
                self._done(delivery)

    async def drain(self) -> None:
        """Wait until no message is in flight."""
        await self._in_flight.drained()

    def _dispatch(self, delivery: ipc.Delivery) -> None:
        message = delivery.message
        node, about = message_resource.split(message.resource)
        if message.resource == f"{message_resource.NODE}/{node}":
            self._node_event(node, message)
            self._done(delivery)
        elif message.operation in {"response", "error"}:
            self._done(delivery)
        elif about == message_resource.MEMBERSHIP_DETAIL and self._node_sync.takes_devices(node):
            event_id = membership.event_id_of(message.content)
            request = Request(message.id, event_id, lambda: self._done(delivery))
            self._node_sync.answer(node, request)
        else:
            self._twin_message(node, delivery)

    def _node_event(self, node: str, message: ipc.Message) -> None:
        if message.operation == "connected":
            self._node_sync.connected(node, generation_of(message.content), _ASK_WITHIN)
        elif message.operation == "disconnected":
            self._node_sync.disconnected(node)

    def _twin_message(self, node: str, delivery: ipc.Delivery) -> None:
        """Queue reported values for writing; a message without any is only acknowledged.

        So are all messages of an edge that knows no devices of v1alpha1: it would send each of
        them again every minute.
        """
        message = delivery.message
        device, reports = "", Reports()
        try:
            about = message_resource.parse_device(message.resource)
            device = about.device
            if about.aspect == message_resource.TWIN_EDGE_UPDATED and self._node_sync.takes_devices(
                node
            ):
                reports = twin.reports(message.content)
        except message_resource.BadResource:
            log.debug("message %s %s: nothing to do", message.operation, message.resource)
        except BadObject as error:
            self._put_aside(message, error)
        else:
            if self._set_aside.count:
                self._set_aside.end(_subject(message), used=True)

        async def done() -> None:
            await self._confirm(node, message)
            self._done(delivery)

        self._writer.write(DeviceSlot(node, device), reports, done)

    def _put_aside(self, message: ipc.Message, error: Exception) -> None:
        self._set_aside.put(_subject(message), error)

    async def _confirm(self, node: str, message: ipc.Message) -> None:
        answer = ipc.Message.build(
            SOURCE,
            GROUP,
            "response",
            message_resource.cloud_resource(node, "twin"),
            "OK",
            parent_id=message.id,
        )
        await self._context.send("cloudhub", answer)

    def _done(self, delivery: ipc.Delivery) -> None:
        delivery.done()
        self._in_flight.end()


def _subject(message: ipc.Message) -> Subject:
    """Return what to name in the log and in an Event: the message, and its node."""
    parts = message.resource.split("/", 2)
    involved = reference(NODES, {"metadata": {"name": parts[1]}}) if len(parts) > 1 else {}
    name = f"message {message.operation[:_LONGEST]!r} {message.resource[:_LONGEST]!r}"
    return Subject("message", name, involved if "name" in involved else None, f"cannot use {name}")

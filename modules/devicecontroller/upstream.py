"""Messages from the edges: questions for their devices, reports, and acknowledgements.

As in cloud/pkg/devicecontroller/controller/upstream.go. Each goes to the room of the API version
that its edge knows. In addition `membership/detail` is answered, and every message is acknowledged
with `OK`, as KubeEdge does since v1.2. An edge resends what is not acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from itertools import count
from typing import Final

import ipc
from modules.common import message_resource
from modules.common.kube import NODES, BadObject, SetAside, Subject, reference
from modules.common.kube.health import ApiHealth
from modules.common.sync.deliveries import Deliveries
from modules.common.sync.keyed_queue import KeyedQueue
from modules.common.wire.generations import V1_23, generation_of
from modules.devicecontroller.edge_messages import event_id_of
from modules.devicecontroller.edges import SOURCE, Edges
from modules.devicecontroller.status.report_queue import Origin
from modules.devicecontroller.takeovers import DeviceTakeovers
from modules.devicecontroller.v1alpha1 import devices as v1alpha1
from modules.devicecontroller.v1alpha1 import twin
from modules.devicecontroller.v1alpha1.reported_values import Reports
from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot
from modules.devicecontroller.v1alpha1.sync.node_sync import Request
from modules.devicecontroller.v1beta1 import devices as v1beta1
from modules.devicecontroller.v1beta1 import messages
from supervisor.api import ModuleContext

#: Seconds after which a node that has connected gets its devices without having asked for them.
#: Edges of v1.1 ask at once.
_ASK_WITHIN: Final = 5.0

#: Limit of an operation and of a resource in an error message, in characters.
_LONGEST: Final = 300

log = logging.getLogger(__name__)


class Upstream:
    """Takes the module's messages and dispatches each to its handler.

    A message stays in the channel until it is handled, unless that takes long (deliveries.py), so a
    crash of this module loses none that the edges do not send again.
    """

    def __init__(
        self,
        context: ModuleContext,
        alpha: v1alpha1.Devices,
        beta: v1beta1.Devices,
        edges: Edges,
        set_aside: SetAside,
        *,
        health: ApiHealth,
        limit: int,
        takeovers: DeviceTakeovers | None = None,
    ) -> None:
        """Set up; at most `limit` messages are in flight, the others stay in the channel."""
        self._takeovers = takeovers
        self._context = context
        self._alpha = alpha
        self._beta = beta
        self._edges = edges
        self._set_aside = set_aside
        self._deliveries = Deliveries(limit, health)
        #: What writes to the API that edges have lost their database.
        self._losses: set[asyncio.Task[None]] = set()
        #: Messages that have nothing to be written: they are only acknowledged. By numbers of their
        #: own, for edges can send the same id twice.
        self._empty: dict[int, ipc.Delivery] = {}
        self._numbers = count()
        self._confirmations: KeyedQueue[int] = KeyedQueue(
            self._confirm_empty, ipc.ChannelError, self._give_up
        )

    async def run(self) -> None:
        """Take messages until the module is asked to stop."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._confirmations.run()),
                    tasks.create_task(self._deliveries.run()),
                ]
                await self._receive()
                for task in running:
                    task.cancel()
        finally:
            self._confirmations.stop()
            for writing in self._losses:
                writing.cancel()

    async def drain(self) -> None:
        """Wait until no message is in flight."""
        await self._deliveries.drained()

    async def _receive(self) -> None:
        while True:
            await self._deliveries.room()
            try:
                delivery = await self._context.take()
            except ipc.Closed:
                await self.drain()
                return
            self._deliveries.begin(delivery)
            try:
                self._dispatch(delivery)
            except Exception as error:
                self._put_aside(delivery.message, error)
                self._done(delivery)

    def _dispatch(self, delivery: ipc.Delivery) -> None:
        message = delivery.message
        node, about = message_resource.split(message.resource)
        if message.resource == f"{message_resource.NODE}/{node}":
            self._node_event(node, message)
            self._done(delivery)
        elif self._is_elsewhere(node):
            log.debug("%s: its node is not connected here any more", message.resource)
            self._done(delivery)
        elif self._is_of_today(node, about):
            self._of_today(node, about, delivery)
        elif message.operation in {"response", "error"}:
            self._done(delivery)
        elif not self._alpha.runs:
            self._confirm_only(delivery)
        elif about == message_resource.MEMBERSHIP_DETAIL:
            event_id = event_id_of(message.content)
            request = Request(message.id, event_id, lambda: self._done(delivery))
            self._alpha.node_sync.answer(node, request)
        else:
            self._twin_message(node, delivery)

    def _is_of_today(self, node: str, about: str) -> bool:
        """Whether a message's edge knows devices of v1beta1.

        The form of a message shows it only while CloudHub has not told the edge's generation.
        """
        if not self._alpha.node_sync.takes_devices(node):
            return True
        return messages.is_of_today(about) and not self._edges.is_other(node)

    def _is_elsewhere(self, node: str) -> bool:
        return (
            self._takeovers is not None
            and self._edges.is_elsewhere(node)
            and not self._takeovers.is_reading(node)
        )

    def _node_event(self, node: str, message: ipc.Message) -> None:
        if message.operation == "connected":
            self.connected(node, generation_of(message.content))
        elif message.operation == "disconnected":
            self._disconnected(node)
            self.drop_if_elsewhere(node)
        elif message.operation == messages.LOST:
            self._beta.lost(node)
            if message.reply_to:
                writing = asyncio.create_task(self._write_loss(node, message))
                self._losses.add(writing)
                writing.add_done_callback(self._losses.discard)

    async def _write_loss(self, node: str, question: ipc.Message) -> None:
        """Answer EdgeController of this replica whether the API knows what a node has lost."""
        if self._takeovers is None or await self._takeovers.write_loss(node):
            answer = question.response("OK", source=SOURCE)
        else:
            answer = question.error("what it has is not written", source=SOURCE)
        try:
            await self._context.send_resp(answer)
        except ipc.ChannelError as error:
            log.debug("node %s: cannot answer what it has lost: %s", node, error)

    def doubt(self, node: str) -> None:
        """Serve a node again when CloudHub has said that it is still connected."""
        self._disconnected(node)
        self._edges.ask_again(node)

    def connected(self, node: str, generation: str, *, has_just: bool = True) -> None:
        """Serve a connected node; with several replicas, once its record is read.

        One that has just connected asks for its devices.
        """
        asks_within = _ASK_WITHIN if has_just else 0.0
        if self._takeovers is None:
            self._serve(node, generation, asks_within)
            return
        self._disconnected(node)  # nothing is in flight on the new connection
        self._edges.arrives(node)
        self._alpha.node_sync.learn(node, generation)  # what it asks for meanwhile waits
        self._takeovers.begin(node, generation, partial(self._serve, node, generation, asks_within))

    def _serve(self, node: str, generation: str, asks_within: float) -> None:
        self._alpha.node_sync.connected(node, generation, asks_within)
        self._edges.connected(node, generation)
        self._alpha.edge_changed(node)
        self._beta.connected(node)

    def _disconnected(self, node: str) -> None:
        if self._takeovers is not None:
            self._takeovers.give_up(node)
        self._alpha.node_sync.disconnected(node)
        self._edges.disconnected(node)
        self._beta.disconnected(node)

    def drop_if_elsewhere(self, node: str) -> None:
        """Drop what a node has reported that has gone: another replica writes what it reports."""
        if self._is_elsewhere(node):
            self._alpha.writer.drop(node)
            self._beta.writer.drop(node)

    def _of_today(self, node: str, about: str, delivery: ipc.Delivery) -> None:
        """Hand a message of an edge that knows devices of v1beta1 to these."""
        message = delivery.message
        self._alpha.node_sync.learn(node, V1_23)
        if message.operation in {"response", "error"}:
            self._beta.answered(node, message)
            self._done(delivery)
        elif not self._beta.runs:
            self._confirm_only(delivery)
        elif about == message_resource.MEMBERSHIP_DETAIL:
            self._beta.send_members(node, message, lambda: self._done(delivery))
        else:
            self._report(node, about, delivery)

    def _report(self, node: str, about: str, delivery: ipc.Delivery) -> None:
        """Queue a report for writing; one without anything to write is only acknowledged."""
        origin = self._origin(node, delivery)
        try:
            is_queued = self._beta.report(node, about, delivery.message, origin)
        except BadObject as error:
            self._put_aside(delivery.message, error)
            is_queued = False
        else:
            self._end_aside(delivery.message)
        if not is_queued:
            self._confirm_only(delivery)

    def _twin_message(self, node: str, delivery: ipc.Delivery) -> None:
        """Queue reported values for writing; a message without any is only acknowledged."""
        message = delivery.message
        device, reports = "", Reports()
        try:
            about = message_resource.parse_device(message.resource)
            device = about.device
            if about.aspect == message_resource.TWIN_EDGE_UPDATED:
                reports = twin.reports(message.content)
        except message_resource.BadResource:
            log.debug("message %s %s: nothing to do", message.operation, message.resource)
        except BadObject as error:
            self._put_aside(message, error)
        else:
            self._end_aside(message)
        self._alpha.writer.write(DeviceSlot(node, device), reports, self._origin(node, delivery))

    def _origin(self, node: str, delivery: ipc.Delivery) -> Origin:
        return Origin(node, partial(self._confirm, node, delivery), partial(self._done, delivery))

    def _put_aside(self, message: ipc.Message, error: Exception) -> None:
        self._set_aside.put(_subject(message), error)

    def _end_aside(self, message: ipc.Message) -> None:
        if self._set_aside.count:
            self._set_aside.end(_subject(message), used=True)

    def _confirm_only(self, delivery: ipc.Delivery) -> None:
        number = next(self._numbers)
        self._empty[number] = delivery
        self._confirmations.add(number)

    async def _confirm_empty(self, number: int) -> None:
        delivery = self._empty.get(number)
        if delivery:
            node, _ = message_resource.split(delivery.message.resource)
            await self._confirm(node, delivery)
            del self._empty[number]

    def _give_up(self, number: int, error: Exception) -> None:
        delivery = self._empty.pop(number)
        self._put_aside(delivery.message, error)
        self._done(delivery)

    async def _confirm(self, node: str, delivery: ipc.Delivery) -> None:
        try:
            await self._context.send("cloudhub", messages.confirmation(node, delivery.message.id))
        except ipc.ModuleUnavailable:
            if not self._context.stopping:
                raise  # the confirmation is due when cloudhub is back
            # cloudhub stops first: no edge is connected that could be told
        self._done(delivery)

    def _done(self, delivery: ipc.Delivery) -> None:
        self._deliveries.done(delivery)


def _subject(message: ipc.Message) -> Subject:
    """Return what to name in the log and in an Event: the message, and its node."""
    parts = message.resource.split("/", 2)
    involved = reference(NODES, {"metadata": {"name": parts[1]}}) if len(parts) > 1 else {}
    name = f"message {message.operation[:_LONGEST]!r} {message.resource[:_LONGEST]!r}"
    return Subject("message", name, involved if "name" in involved else None, f"cannot use {name}")

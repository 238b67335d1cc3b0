"""Edge nodes: one that is added, connects or becomes ready is sent its whole state."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

from ipc import ChannelError, ChannelFull, Message, ModuleUnavailable
from ipc.message import OP_ERROR
from modules.common import message_resource
from modules.common.kube import (
    NODES,
    EventType,
    Object,
    Reason,
    SetAside,
    Subject,
    Unreachable,
    WatchEvent,
    reference,
)
from modules.common.sync.connectivity import Connectivity
from modules.common.sync.record import DROP_INTERVAL, drop_rows_of_gone_nodes
from modules.common.sync.takeovers import Takeovers
from modules.common.wire.generations import V1_23
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.own_pods import OwnPods
from modules.edgecontroller.downstream.registrations import Registrations
from modules.edgecontroller.downstream.state import State, node_item
from modules.edgecontroller.messages import DELETED, GROUP, SOURCE, change
from modules.edgecontroller.objects import uid_of
from supervisor.api import ModuleContext

#: The group that is told which nodes may have lost their database, and the operation.
_DEVICE_CONTROLLER: Final = "devicecontroller"
_OP_LOST: Final = "lost"

#: Seconds until it is told again, while DeviceController is stopped.
_TELL_AGAIN: Final = 5.0
#: Seconds in which DeviceController writes to the API what a node has lost.
_LOSS_TIMEOUT: Final = 10.0

log = logging.getLogger(__name__)


class NodeEventHandler:
    """Handles events of Node objects and of their connections."""

    def __init__(
        self,
        state: State,
        updater: NodeUpdater,
        cloudhub: CloudHubClient,
        context: ModuleContext,
        set_aside: SetAside,
        *,
        takeovers: Takeovers | None = None,
        own_pods: OwnPods | None = None,
    ) -> None:
        """Set up; with several replicas, nodes are served after these have read what is theirs."""
        self._takeovers = takeovers
        self._own_pods = own_pods
        self._set_aside = set_aside
        self._state = state
        self._cloudhub = cloudhub
        self._context = context
        self._deleted: asyncio.Queue[str] = asyncio.Queue()
        #: Nodes that may have lost their database, of which DeviceController does not know yet.
        self._lost: dict[str, None] = {}
        self._any_lost = asyncio.Event()
        self._recorder = set_aside.recorder
        self._updater = updater
        self.registrations = Registrations(state, self._has_lost)
        self.connectivity = Connectivity(
            state.connections,
            context,
            sender=(SOURCE, GROUP),
            on_found=self._found,
            on_gone=self._gone,
            insists=takeovers is not None,
        )

    def handle(self, event: WatchEvent) -> None:
        name = event.object["metadata"]["name"]
        self._state.place(name)
        if event.type == "ADDED":
            self._added(name)
        elif event.type == "DELETED":
            self._deleted.put_nowait(name)
            self._state.whole_nodes.pop(name, None)
            self._state.record.forget_seen(name)  # what comes back may be another machine
        elif event.object["digest"] != (event.old or {}).get("digest"):
            self._state.whole_nodes.pop(name, None)  # what was read before is out of date
            self.registrations.changed(name)
            if _ready(event.object) and not _ready(event.old):
                self._became_ready(name)

    def go_live(self) -> None:
        """Start sending, when the caches are complete: ask which nodes are connected.

        What they have acknowledged before a restart of this module is not sent again, unless they
        reconnect: then cloudhub's message waits in the channel.
        """
        state = self._state
        state.live = True
        # Until cloudhub answers: an edge must not get what is meant for one of another generation.
        for node, generation in state.record.generations().items():
            state.learn_generation(node, state.generations.get(node, generation))
        for node in state.record.nodes():
            if state.record.uid(node, node_item(node)) is not None:
                state.reads_own_node.add(node)
        for _, node in self._state.nodes:
            self._added(node)
        for node in self._state.record.nodes():
            self._deleted.put_nowait(node)  # it may have been deleted while this module was down

    async def run(self) -> None:
        """Have the sessions of deleted nodes closed, and their rows dropped, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._close_sessions())
            if self._takeovers is None:
                tasks.create_task(drop_rows_of_gone_nodes(self._state.record, self._state.has_node))
            tasks.create_task(self._tell_what_is_lost())
            tasks.create_task(self._forget_gone())

    async def _forget_gone(self) -> None:
        while True:
            await asyncio.sleep(DROP_INTERVAL)
            self.forget_gone()

    def forget_gone(self) -> None:
        """Forget the nodes that have no Node and are not connected, but for the record of each."""
        state = self._state
        for node in [*{**state.connections, **state.generations}]:
            is_read = self._takeovers is not None and self._takeovers.is_reading(node)
            if state.has_node(node) or state.connections.get(node) or is_read:
                continue
            self.connectivity.forget(node)
            self.registrations.forget(node)
            state.forget(node)
            if self._takeovers is not None:
                state.record.set_generation(node, "")  # whoever has it next learns it anew

    async def _tell_what_is_lost(self) -> None:
        """Tell DeviceController too which nodes may have lost their database, once it takes it."""
        while True:
            await self._any_lost.wait()
            node = next(iter(self._lost))
            try:
                await self._context.send_to_group(_DEVICE_CONTROLLER, _loss(node))
            except (ChannelFull, ModuleUnavailable) as error:
                log.debug("node %s: devicecontroller is told later that it starts: %s", node, error)
                await asyncio.sleep(_TELL_AGAIN)
                continue
            except ChannelError as error:
                log.debug("node %s: cannot tell devicecontroller that it starts: %s", node, error)
            del self._lost[node]
            if not self._lost:
                self._any_lost.clear()

    def _has_lost(self, node: str) -> None:
        if self._takeovers is None:
            self._tell_later(node)

    def _tell_later(self, node: str) -> None:
        self._lost[node] = None
        self._any_lost.set()

    async def registered(self, node: str, namespace: str, *, exists: bool) -> None:
        """Note that a node has inserted its Node; it is answered when this returns.

        With several replicas, what it has lost is written to the API by then: whoever takes it over
        from now on cannot know it otherwise. Raises Unreachable if it cannot be written in time.
        """
        if self._takeovers is None:
            self.registrations.registered(node, namespace, exists=exists)
            return
        if self._takeovers.is_reading(node):
            raise Unreachable(f"node {node}: what it has is being read")
        if not self.registrations.registered(node, namespace, exists=exists):
            return
        if not await self._takeovers.write_loss(node) or not await self._devices_are_lost(node):
            raise Unreachable(f"node {node}: what it has lost cannot be written in time")

    async def _devices_are_lost(self, node: str) -> bool:
        """Tell DeviceController of a loss, and return whether it has written that."""
        try:
            answers = await self._context.send_to_group_sync(
                _DEVICE_CONTROLLER, _loss(node), _LOSS_TIMEOUT
            )
        except ChannelError as error:  # it is down, and is told when it is not
            log.debug("node %s: devicecontroller is told later that it starts: %s", node, error)
            self._tell_later(node)
            return True
        return all(answer.operation != OP_ERROR for answer in answers)

    async def _close_sessions(self) -> None:
        while True:
            node = await self._deleted.get()
            if not self._state.has_node(node):
                await self._cloudhub.send(change(DELETED, f"{message_resource.NODE}/{node}", None))

    def connected(self, node: str, generation: str) -> None:
        """Serve a connected node; with several replicas, once its record has been read."""
        if generation == V1_23:
            self.registrations.connected(node)  # it may insert its Node before that
        if self._takeovers is None:
            self._serve(node, generation)
            return
        self.connectivity.disconnected(node)  # what cloudhub answers may be of before
        self._updater.disconnected(node)  # nothing is in flight on the new connection
        load = None
        if self._own_pods is not None:
            load = partial(self._own_pods.load, node, is_of_v1_1=generation != V1_23)
        self._takeovers.begin(node, partial(self._serve, node, generation), load)

    def _serve(self, node: str, generation: str) -> None:
        """Send a connected node what it has not acknowledged, or everything to one of v1.1.

        Edges of today keep what they have acknowledged in their database. One of v1.1 does too, but
        would not show that it had lost it.
        """
        self._learn_generation(node, generation)
        if not self._state.connections.get(node):
            self._record_event(
                node, "Normal", Reason.CONNECTED, "the edge node has connected to cloudcore"
            )
        self.connectivity.connected(node)
        today = generation == V1_23
        if today:
            self._updater.disconnected(node)  # nothing is in flight on the new connection
        else:
            self._state.record.forget_seen(node)
        self._state.mark_all(node, unless_seen=today)
        if self._takeovers is not None and not today:
            # Of what it was denied elsewhere it may have an empty object, which the record of
            # replicas does not say.
            self._state.unrecorded_nodes.add(node)

    def heard_from(self, node: str) -> None:
        if self._takeovers is not None:
            self._state.connections.setdefault(node, False)
        self.connectivity.heard_from(node)

    def is_elsewhere(self, node: str) -> bool:
        """Whether a node is known not to be connected here, as one of several replicas."""
        return (
            self._takeovers is not None
            and self._state.connections.get(node) is False
            and not self._takeovers.is_reading(node)
            and not self.connectivity.is_asking(node)
        )

    def disconnected(self, node: str) -> None:
        if self._takeovers is not None:
            self._takeovers.give_up(node)
        if self._state.connections.get(node):
            text = "cloudcore has lost the edge node"
            self._record_event(node, "Warning", Reason.DISCONNECTED, text)
        self.connectivity.disconnected(node)
        self._updater.disconnected(node)

    def _added(self, node: str) -> None:
        if not self._state.live:
            return
        self._state.record.node_exists(node)
        known = self._state.record.uid(node, node_item(node))
        if known and known != uid_of(self._state.nodes["", node]):
            self._state.record.forget_seen(node)  # another Node, maybe of another machine
        if self._takeovers is not None and node not in self._state.connections:
            self._state.connections[node] = False  # it may be another replica's
            self.connectivity.ask(node)
        elif node in self._state.connections:
            self._state.mark_all(node, unless_seen=True)
        else:
            self.connectivity.ask(node)

    def _record_event(
        self,
        node: str,
        type: EventType,  # noqa: A002
        reason: Reason,
        message: str,
    ) -> None:
        """Record a Kubernetes Event about a node, if it exists in the API."""
        found = self._state.nodes.get(("", node))
        if found:
            self._recorder.event(reference(NODES, found), type, reason, message)

    def find(self, resource: str) -> Object | None:
        """Return the node in a message's resource, if it exists in the API."""
        return self._state.nodes.get(("", resource.split("/", 2)[1])) if "/" in resource else None

    def _learn_generation(self, node: str, generation: str) -> None:
        """Note a node's generation; one that has changed may keep nothing of what it was sent."""
        before = self._state.generations.get(node)
        self._state.learn_generation(node, generation)
        self._state.record.set_generation(node, generation if generation == V1_23 else "")
        if (before == V1_23) != (generation == V1_23):
            self._updater.disconnected(node)
            if before is not None:
                self._state.record.forget_seen(node)

    def _found(self, node: str, generation: str) -> None:
        if self._takeovers is not None and not self._state.connections.get(node):
            if generation:  # cloudhub tells it of each node that is here
                self.connected(node, generation)
            return
        if generation:
            self._learn_generation(node, generation)
        with self._set_aside.isolating(_subject(node)):
            self._state.mark_all(node, unless_seen=True)

    def _gone(self, node: str) -> None:
        with self._set_aside.isolating(_subject(node)):
            self.disconnected(node)

    def _became_ready(self, node: str) -> None:
        """Send the lists, as KubeEdge does, unless the node got them when it connected."""
        state = self._state
        if state.live and state.reachable(node) and not state.connections.get(node):
            state.mark_lists(node)


def _loss(node: str) -> Message:
    """Return the message that a node may have lost its database."""
    return change(_OP_LOST, f"{message_resource.NODE}/{node}", None)


def _subject(node: str) -> Subject:
    return Subject.of(NODES, {"metadata": {"name": node}})


def _ready(node: Object | None) -> bool:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)

"""Edge nodes: one that is added, connects or becomes ready is sent its whole state."""

from __future__ import annotations

import asyncio
from typing import Final

from modules.common import message_resource
from modules.common.kube import (
    NODES,
    EventType,
    Object,
    SetAside,
    Subject,
    WatchEvent,
    reference,
)
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.connectivity import Connectivity
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import DELETED, change
from supervisor.api import ModuleContext

#: The reasons of Kubernetes Events about nodes.
CONNECTED: Final = "EdgeConnected"
DISCONNECTED: Final = "EdgeDisconnected"
REFUSED: Final = "EdgeRefused"


class NodeEventHandler:
    """Handles events of Node objects and of their connections."""

    def __init__(
        self,
        state: State,
        updater: NodeUpdater,
        cloudhub: CloudHubClient,
        context: ModuleContext,
        set_aside: SetAside,
    ) -> None:
        self._set_aside = set_aside
        self._state = state
        self._cloudhub = cloudhub
        self._deleted: asyncio.Queue[str] = asyncio.Queue()
        self._recorder = set_aside.recorder
        self._updater = updater
        self.connectivity = Connectivity(
            state.connections, context, on_found=self._found, on_gone=self._gone
        )

    def handle(self, event: WatchEvent) -> None:
        name = event.object["metadata"]["name"]
        if event.type == "ADDED":
            self._added(name)
        elif event.type == "DELETED":
            self._deleted.put_nowait(name)
        elif _ready(event.object) and not _ready(event.old):
            self._became_ready(name)

    def go_live(self) -> None:
        """Start sending, when the caches are complete: ask which nodes are connected.

        What they have acknowledged before a restart of this module is not sent again, unless they
        reconnect: then cloudhub's message waits in the channel.
        """
        self._state.live = True
        for _, node in self._state.nodes:
            self._added(node)
        for node in self._state.ledger.nodes():
            self._deleted.put_nowait(node)  # it may have been deleted while this module was down

    async def run(self) -> None:
        """Have cloudhub close the sessions of deleted nodes, until cancelled."""
        while True:
            node = await self._deleted.get()
            if ("", node) not in self._state.nodes:
                await self._cloudhub.send(change(DELETED, f"{message_resource.NODE}/{node}", None))

    def connected(self, node: str, generation: str) -> None:
        """Send a connected node its whole state, of which it may have lost any part."""
        self._state.generations[node] = generation
        if not self._state.connections.get(node):
            self._record_event(
                node, "Normal", CONNECTED, "the edge node has connected to cloudcore"
            )
        self.connectivity.connected(node)
        self._state.ledger.forget_seen(node)
        self._state.mark_all(node)

    def registered(self, node: str, namespace: str, *, exists: bool) -> None:
        """Note that an edge has registered its Node, under a namespace ("null" from 1.23 on).

        With `exists` there was a Node of that name: an edge that asks again in the same session
        has none in its database.
        """

    def heard_from(self, node: str) -> None:
        self.connectivity.heard_from(node)

    def disconnected(self, node: str) -> None:
        if self._state.connections.get(node):
            text = "cloudcore has lost the edge node"
            self._record_event(node, "Warning", DISCONNECTED, text)
        self.connectivity.disconnected(node)
        self._updater.disconnected(node)

    def refused(self, node: str, reason: str) -> None:
        """Record an Event about an edge that cloudhub cannot serve."""
        self._record_event(
            node, "Warning", REFUSED, f"cloudcore has refused the edge node: {reason}"
        )

    def _added(self, node: str) -> None:
        if not self._state.live:
            return
        if node in self._state.connections:
            self._state.mark_all(node, unless_seen=True)
        else:
            self.connectivity.ask(node)

    def _record_event(self, node: str, type: EventType, reason: str, message: str) -> None:  # noqa: A002
        """Record a Kubernetes Event about a node, if it exists in the API."""
        found = self._state.nodes.get(("", node))
        if found:
            self._recorder.event(reference(NODES, found), type, reason, message)

    def find(self, resource: str) -> Object | None:
        """Return the node in a message's resource, if it exists in the API."""
        return self._state.nodes.get(("", resource.split("/", 2)[1])) if "/" in resource else None

    def _found(self, node: str, generation: str) -> None:
        if generation:
            self._state.generations[node] = generation
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


def _subject(node: str) -> Subject:
    return Subject.of(NODES, {"metadata": {"name": node}})


def _ready(node: Object | None) -> bool:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)

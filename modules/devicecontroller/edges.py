"""The edges of nodes: whether they are connected, and which API version of devices they know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from modules.common.edge_versions import EdgeVersion
from modules.common.kube import Key, Object, any_shape, check
from modules.common.sync.connectivity import Connectivity
from modules.common.wire.generations import V1_23
from supervisor.api import ModuleContext

SOURCE: Final = "devicecontroller"
GROUP: Final = "twin"


def keep_version(obj: Object) -> Object:
    """Reduce a Node to its name, and the version of its edge."""
    check(obj, any_shape())
    version = EdgeVersion.of(obj)
    # In place of the object's version, so that no other change of a node is reported.
    changes = str(version or "")
    name = obj["metadata"]["name"]
    return {"metadata": {"name": name, "resourceVersion": changes, "uid": ""}, "edge": version}


class Edges:
    """What CloudHub has said of edges; an edge of which nothing is known is not connected.

    The protocol generations are recorded by the caller, and kept over a restart of this module; the
    connections are asked for. What version of KubeEdge an edge is, its Node says. `on_change` is
    called with a node of which something has changed.
    """

    def __init__(
        self,
        context: ModuleContext,
        generations: Mapping[str, str],
        nodes: Mapping[Key, Object],
        on_change: Callable[[str], None],
        *,
        on_connected: Callable[[str, str], None] | None = None,
    ) -> None:
        """Set up; as one of several replicas with `on_connected`.

        `nodes` are those in the API, as `keep_version` reduces them. `on_connected` gets the nodes
        that CloudHub answers to be connected here, each with its generation, and calls `connected`
        when a node may be served. What is known of an edge ends then with its connection: it may
        be another one that connects elsewhere.
        """
        self._nodes = nodes
        self._on_connected = on_connected
        self._generations = dict(generations)
        self._connections: dict[str, bool] = {}
        self._on_change = on_change
        self._asks = False
        self._connectivity = Connectivity(
            self._connections,
            context,
            sender=(SOURCE, GROUP),
            on_found=self._found,
            on_gone=self._gone,
            # A lost connection is followed by a new one, or by its absence; or elsewhere.
            asks_silent=on_connected is not None,
            insists=on_connected is not None,
        )

    def are_of_today(self, node: str) -> bool:
        """Whether a node's edge is known to know devices of v1beta1, and those alone."""
        return self._generations.get(node) == V1_23 and not self.is_other(node)

    def is_other(self, node: str) -> bool:
        """Whether a node's edge is known not to know devices of v1beta1."""
        if self._generations.get(node, V1_23) != V1_23:
            return True
        version = self.version(node)
        return version is not None and not version.knows_v1beta1

    def version(self, node: str) -> EdgeVersion | None:
        """Return the version that a node's edge has reported; None as long as there is none."""
        version: EdgeVersion | None = self._nodes.get(("", node), {}).get("edge")
        return version

    def names_devices_alone(self, node: str) -> bool:
        """Whether a node's edge knows a device by its name without the namespace."""
        version = self.version(node)
        return version is not None and version.names_devices_alone

    def device_id(self, node: str, device: Key) -> str:
        """Return the id of a device at a node's edge (GetResourceID in pkg/util)."""
        namespace, name = device
        return name if self.names_devices_alone(node) else f"{namespace}/{name}"

    def found_of_today(self, nodes: Iterable[str]) -> None:
        """Note nodes with records that only edges of today have, unless more is known of them."""
        for node in nodes:
            self._generations.setdefault(node, V1_23)

    def arrives(self, node: str) -> None:
        """Note a node that has connected, and is not served yet."""
        self._connections[node] = False

    def are_connected(self, node: str) -> bool:
        return self._connections.get(node, False)

    def connected(self, node: str, generation: str) -> None:
        self._generations[node] = generation
        self._connectivity.connected(node)

    def heard_from(self, node: str) -> bool:
        """Note a message of an edge of today; return whether its connection was not known."""
        if self._on_connected:
            if self.are_connected(node):
                self._connectivity.heard_from(node)
            return False
        is_new = not (self._generations.get(node) == V1_23 and self.are_connected(node))
        if is_new:
            self.connected(node, V1_23)
        return is_new

    def disconnected(self, node: str) -> None:
        self._connectivity.disconnected(node)
        if self._on_connected:
            self._generations.pop(node, None)

    def is_elsewhere(self, node: str) -> bool:
        """Whether a node is known to be connected to no more than another replica."""
        return (
            self._on_connected is not None
            and self._connections.get(node) is False
            and not self._connectivity.is_asking(node)
        )

    def forget_gone(self) -> list[str]:
        """Forget that nodes without a Node are not connected, and return these nodes."""
        gone = [
            node
            for node, is_connected in self._connections.items()
            if not is_connected and ("", node) not in self._nodes
        ]
        for node in gone:
            self._connectivity.forget(node)
        return gone

    async def ask(self, nodes: Iterable[str]) -> None:
        """Serve questions until cancelled, and ask about these nodes first."""
        running = asyncio.create_task(self._connectivity.run())
        try:
            await asyncio.sleep(0)  # it begins to serve questions
            self._asks = True
            for node in nodes:
                self.ask_if_unknown(node)
            await running
        finally:
            self._asks = False
            running.cancel()

    def ask_if_unknown(self, node: str) -> None:
        """Ask about a node that gets its first device, if nothing is known of its connection."""
        if self._asks and node not in self._connections:
            if self._on_connected:
                self._connections[node] = False
            self._connectivity.ask(node)

    def ask_again(self, node: str) -> None:
        """Ask about a node of which another replica may have become the holder."""
        if self._asks:
            self._connectivity.ask(node)

    def _found(self, node: str, generation: str) -> None:
        if self._on_connected:
            if generation and not self.are_connected(
                node
            ):  # cloudhub tells it of each that is here
                self._on_connected(node, generation)
            return
        if generation:
            self._generations[node] = generation
        self._on_change(node)

    def _gone(self, node: str) -> None:
        self.disconnected(node)
        self._on_change(node)

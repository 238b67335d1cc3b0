"""The edges of nodes: whether they are connected, and which API version of devices they know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from modules.common.kube import Object, check, with_metadata
from modules.common.sync.connectivity import Connectivity
from modules.common.wire.generations import V1_23
from supervisor.api import ModuleContext

SOURCE: Final = "devicecontroller"
GROUP: Final = "twin"

#: Only the name of a node matters here.
_NAMED: Final = with_metadata(msgspec.defstruct("Object", []), namespaced=False)


def keep_name(obj: Object) -> Object:
    """Reduce a Node to its name."""
    check(obj, _NAMED)
    metadata = obj["metadata"]
    # Always the same version, so that no change of a node is reported.
    return {"metadata": {"name": metadata["name"], "resourceVersion": "", "uid": ""}}


class Edges:
    """What CloudHub has said of edges; an edge of which nothing is known is not connected.

    The protocol generations are recorded by the caller, and kept over a restart of this module; the
    connections are asked for. `on_change` is called with a node of which something has changed.
    """

    def __init__(
        self,
        context: ModuleContext,
        generations: Mapping[str, str],
        on_change: Callable[[str], None],
    ) -> None:
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
            asks_silent=False,  # a lost connection is followed by a new one, or by its absence
        )

    def are_of_today(self, node: str) -> bool:
        """Whether a node's edge is known to know devices of v1beta1, and those alone."""
        return self._generations.get(node) == V1_23

    def is_other(self, node: str) -> bool:
        """Whether a node's edge is known not to know devices of v1beta1."""
        return self._generations.get(node, V1_23) != V1_23

    def found_of_today(self, nodes: Iterable[str]) -> None:
        """Note nodes with records that only edges of today have, unless more is known of them."""
        for node in nodes:
            self._generations.setdefault(node, V1_23)

    def are_connected(self, node: str) -> bool:
        return self._connections.get(node, False)

    def connected(self, node: str, generation: str) -> None:
        self._generations[node] = generation
        self._connectivity.connected(node)

    def heard_from(self, node: str) -> bool:
        """Note a message of an edge of today; return whether its connection was not known."""
        is_new = not (self.are_of_today(node) and self.are_connected(node))
        if is_new:
            self.connected(node, V1_23)
        return is_new

    def disconnected(self, node: str) -> None:
        self._connectivity.disconnected(node)

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
            self._connectivity.ask(node)

    def _found(self, node: str, generation: str) -> None:
        if generation:
            self._generations[node] = generation
        self._on_change(node)

    def _gone(self, node: str) -> None:
        self._connections[node] = False
        self._on_change(node)

"""Edge nodes: when one appears, connects or gets ready it is told everything it is to have."""

from __future__ import annotations

from modules.common.kube import WatchEvent
from modules.edgecontroller.downstream.view import View
from modules.edgecontroller.objects import Object


class NodeConcern:
    """Node objects, and what cloudhub says of their connections."""

    def __init__(self, view: View) -> None:
        self._view = view

    def handle(self, event: WatchEvent) -> None:
        name = event.object["metadata"]["name"]
        if event.type == "ADDED":
            self._view.mark_all(name)
        elif _ready(event.object) and not _ready(event.old):
            self._got_ready(name)

    def connected(self, node: str) -> None:
        """Tell a node that has just connected everything: it may have missed any change."""
        self._view.connections[node] = True
        self._view.mark_all(node)

    def heard_from(self, node: str) -> None:
        """Take a message as the sign that a node is connected, if nothing is known of it."""
        self._view.connections.setdefault(node, True)

    def disconnected(self, node: str) -> None:
        self._view.connections[node] = False

    def _got_ready(self, node: str) -> None:
        """Send the lists, as KubeEdge does, unless the node has had them when it connected."""
        view = self._view
        if view.live and view.reachable(node) and not view.connections.get(node):
            view.mark_lists(node)


def _ready(node: Object | None) -> bool:
    conditions = ((node or {}).get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)

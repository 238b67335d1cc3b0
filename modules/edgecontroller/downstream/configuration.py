"""ConfigMaps and Secrets: told to the nodes whose pods need them."""

from __future__ import annotations

from modules.common.kube import WatchEvent, key_of
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State


class ConfigurationConcern:
    """Events of one of the two types."""

    def __init__(self, view: State, type: str) -> None:  # noqa: A002 - KubeEdge's word
        self._view = view
        self._type = type

    def handle(self, event: WatchEvent) -> None:
        view = self._view
        if not view.live:
            return
        item = (self._type, *key_of(event.object))
        last = event.object if event.type == "DELETED" else None
        for node in view.locations.nodes_of(item):
            if view.reachable(node):
                view.outbox.mark(
                    Target(node, *item), fresh=view.is_fresh(self._type, event), last=last
                )

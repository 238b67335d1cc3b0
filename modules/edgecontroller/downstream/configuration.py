"""ConfigMaps and Secrets, which are sent to the nodes whose pods refer to them."""

from __future__ import annotations

from modules.common.kube import WatchEvent, key_of
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State


class ConfigurationEventHandler:
    """Handles events of one of the two types."""

    def __init__(self, state: State, type: str) -> None:  # noqa: A002 - KubeEdge's word
        self._state = state
        self._type = type

    def handle(self, event: WatchEvent) -> None:
        state = self._state
        if not state.live:
            return
        item = (self._type, *key_of(event.object))
        last = event.object if event.type == "DELETED" else None
        for node in state.locations.nodes_of(item):
            if state.reachable(node):
                state.due.mark(
                    Target(node, *item), fresh=state.is_fresh(self._type, event), last=last
                )

"""ConfigMaps and Secrets, which are sent to the nodes whose pods refer to them."""

from __future__ import annotations

from collections.abc import Callable

from modules.common.kube import Key, Object, WatchEvent, key_of
from modules.common.sync.outlines import Outline
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import POD


class ConfigurationEventHandler:
    """Handles events of one of the two types."""

    def __init__(self, state: State, type: str) -> None:  # noqa: A002 - KubeEdge's word
        self._state = state
        self._type = type

    def kept(self, keep: Callable[[Object], Object]) -> Callable[[Object], Object]:
        """Return a function that reduces objects as `keep` does, others to their outlines."""

        def keep_some(obj: Object) -> Object:
            outline = Outline.of(obj)
            return keep(obj) if self.is_needed(key_of(outline)) else outline

        return keep_some

    def is_needed(self, key: Key) -> bool:
        return bool(self._state.locations.nodes_of((self._type, *key)))

    def read(self, key: Key) -> None:
        """Make an object that was read whole due to its nodes, then pods that waited for it."""
        state, item = self._state, (self._type, *key)
        for node in state.locations.nodes_of(item):
            if state.live and state.reachable(node):
                state.due.mark(Target(node, *item), unless_seen=True)
                for pod in state.locations.pods_with(node, item):
                    target = Target(node, POD, *pod)
                    if not state.unread(target):  # or it would be before what it waits for
                        state.due.mark(target, unless_seen=True)

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

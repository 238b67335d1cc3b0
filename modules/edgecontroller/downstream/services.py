"""Services, Endpoints and the pods behind services, which every edge node of v1.1 is sent."""

from __future__ import annotations

from modules.common.kube import Key, WatchEvent, key_of
from modules.common.sync.journal import Row
from modules.common.sync.record import EVERY_NODE
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import ENDPOINTS, PODLIST, SERVICE
from modules.edgecontroller.objects import endpoints_changed, uid_of


class ServiceEventHandler:
    """Handles Service events."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handle(self, event: WatchEvent) -> None:
        self._state.changed()
        mark_everywhere(self._state, SERVICE, event)
        if event.type == "DELETED":
            for _, node in self._state.nodes:
                self._state.record.remove(node, [(PODLIST, *key_of(event.object))])


class EndpointsEventHandler:
    """Handles Endpoints events, except those of leader election, which change annotations alone."""

    def __init__(self, state: State) -> None:
        self._state = state

    def handle(self, event: WatchEvent) -> None:
        self._state.changed()
        modified = event.type == "MODIFIED" and event.old is not None
        if modified and not endpoints_changed(event.old or {}, event.object):
            return
        mark_everywhere(self._state, ENDPOINTS, event)
        if event.type != "DELETED":
            self._mark_podlists(key_of(event.object))

    def _mark_podlists(self, key: Key) -> None:
        state = self._state
        if state.live and key in state.stores[SERVICE]:
            for node in state.nodes_with_lists():
                state.due.mark(Target(node, PODLIST, *key))


def mark_everywhere(state: State, type: str, event: WatchEvent) -> None:  # noqa: A002
    """Make an object due to every edge node of v1.1."""
    if not state.live:
        return
    key = key_of(event.object)
    last = event.object if event.type == "DELETED" else None
    if last and state.is_replica:  # an edge may have it from another replica
        state.record.note_row(EVERY_NODE, (type, *key), Row(uid_of(last)))
    for node in state.nodes_with_lists():
        state.due.mark(Target(node, type, *key), fresh=state.is_fresh(type, event), last=last)

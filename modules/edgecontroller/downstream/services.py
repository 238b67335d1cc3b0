"""Services and Endpoints: told to every edge node, endpoints along with the pods behind them."""

from __future__ import annotations

from modules.common.kube import WatchEvent, key_of
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.locations import Key
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import ENDPOINTS, PODLIST, SERVICE
from modules.edgecontroller.objects import endpoints_changed


class ServiceConcern:
    """Service events."""

    def __init__(self, view: State) -> None:
        self._view = view

    def handle(self, event: WatchEvent) -> None:
        self._view.changed()
        mark_everywhere(self._view, SERVICE, event)
        if event.type == "DELETED":
            for _, node in self._view.nodes:
                self._view.ledger.remove(node, [(PODLIST, *key_of(event.object))])


class EndpointsConcern:
    """Endpoints events; leader election, which only touches annotations, is no news."""

    def __init__(self, view: State) -> None:
        self._view = view

    def handle(self, event: WatchEvent) -> None:
        self._view.changed()
        modified = event.type == "MODIFIED" and event.old is not None
        if modified and not endpoints_changed(event.old or {}, event.object):
            return
        mark_everywhere(self._view, ENDPOINTS, event)
        if event.type != "DELETED":
            self._mark_podlists(key_of(event.object))

    def _mark_podlists(self, key: Key) -> None:
        view = self._view
        if view.live and key in view.stores[SERVICE]:
            for node in view.reachable_nodes():
                view.outbox.mark(Target(node, PODLIST, *key))


def mark_everywhere(view: State, type: str, event: WatchEvent) -> None:  # noqa: A002
    """Make an object that goes to every edge node due there."""
    if not view.live:
        return
    key = key_of(event.object)
    last = event.object if event.type == "DELETED" else None
    for node in view.reachable_nodes():
        view.outbox.mark(Target(node, type, *key), fresh=view.is_fresh(type, event), last=last)

"""What the controller knows: the API's objects, which nodes need them, who is connected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from modules.edgecontroller.downstream.ledger import EVERY_NODE, Ledger
from modules.edgecontroller.downstream.locations import Key, LocationCache
from modules.edgecontroller.downstream.outbox import Outbox, Target
from modules.edgecontroller.downstream.references import Item
from modules.edgecontroller.messages import (
    CONFIGMAP,
    ENDPOINTS,
    ENDPOINTSLIST,
    LIST_NAMES,
    LIST_NAMESPACE,
    POD,
    PODLIST,
    SECRET,
    SERVICE,
    SERVICELIST,
)
from modules.edgecontroller.objects import Object, selects

Store = dict[Key, Object]

#: Services and endpoints that are gone and still told to nodes that connect: so many at most.
_MAX_TOMBSTONES = 1000


@dataclass
class View:
    """The stores are the reflectors', by message type; nodes are the edge nodes alone.

    `live` is False until all stores are complete: until then nothing is due to anybody.
    """

    ledger: Ledger
    nodes: Store = field(default_factory=dict)
    stores: dict[str, Store] = field(
        default_factory=lambda: {
            type_: {} for type_ in (POD, CONFIGMAP, SECRET, SERVICE, ENDPOINTS)
        }
    )
    outbox: Outbox = field(default_factory=Outbox)
    locations: LocationCache = field(default_factory=LocationCache)
    #: What cloudhub has said; a node it has not spoken of since the start may be connected.
    connections: dict[str, bool] = field(default_factory=dict)
    live: bool = False

    def reachable(self, node: str) -> bool:
        """Whether to send to a node: an edge node that is not known to be disconnected."""
        return ("", node) in self.nodes and self.connections.get(node, True)

    def reachable_nodes(self) -> Iterator[str]:
        return (name for _, name in self.nodes if self.connections.get(name, True))

    def desired(self, target: Target) -> Object | None:
        """Return the object as its node is to have it; None if it is to have none."""
        obj = self.stores[target.type].get((target.namespace, target.name))
        if obj is None:
            return None
        if target.type == POD and obj["spec"].get("nodeName") != target.node:
            return None
        if target.type in (CONFIGMAP, SECRET):
            return obj if self.locations.needs(target.node, target.item) else None
        return obj

    def pods_of_service(self, namespace: str, name: str) -> list[Object] | None:
        """Return the pods behind a service; None where a selector does not say which."""
        service = self.stores[SERVICE].get((namespace, name))
        selector = service and service["spec"].get("selector")
        if not selector:
            return None
        return [
            pod
            for (pod_namespace, _), pod in self.stores[POD].items()
            if pod_namespace == namespace and selects(selector, pod)
        ]

    def mark_all(self, node: str) -> None:
        """Make a node's whole state due: what its pods need, the pods, what is gone, the lists."""
        if not self.live or not self.reachable(node):
            return
        for item in self.locations.items_for(node):
            self.outbox.mark(Target(node, *item))
        for namespace, name in self.locations.pods_on(node):
            self.outbox.mark(Target(node, POD, namespace, name))
        for item in [*self.ledger.items(node), *self.tombstones()]:
            self.outbox.mark(Target(node, *item))
        self.mark_lists(node)

    def mark_lists(self, node: str) -> None:
        """Make services, the pods behind each and endpoints due, as a node gets ready."""
        self.outbox.mark(Target(node, SERVICELIST, LIST_NAMESPACE, LIST_NAMES[SERVICELIST]))
        for namespace, name in self.stores[SERVICE]:
            self.outbox.mark(Target(node, PODLIST, namespace, name))
        self.outbox.mark(Target(node, ENDPOINTSLIST, LIST_NAMESPACE, LIST_NAMES[ENDPOINTSLIST]))

    def tombstones(self) -> list[Item]:
        """Return the services and endpoints that nodes may have but that are no more."""
        told = self.ledger.items(EVERY_NODE)
        gone = [
            (type_, namespace, name)
            for type_, namespace, name in told
            if (namespace, name) not in self.stores[type_]
        ]
        if len(gone) > _MAX_TOMBSTONES:
            self.ledger.remove(EVERY_NODE, gone[:-_MAX_TOMBSTONES])
        return gone[-_MAX_TOMBSTONES:]


def for_every_node(type: str) -> bool:  # noqa: A002 - KubeEdge's word
    """Whether a type goes to every edge node rather than to those that need it."""
    return type in (SERVICE, ENDPOINTS)

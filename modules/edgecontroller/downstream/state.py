"""The state of the controller: objects of the API, needs of nodes, connections, targets due."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from modules.common.kube import Aside, Key, Object, WatchEvent, key_of
from modules.common.sync.journal import Item
from modules.common.sync.outlines import Outline
from modules.common.sync.record import EVERY_NODE, Record
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream.due import (
    DueSet,
    Target,
)
from modules.edgecontroller.downstream.locations import LocationCache
from modules.edgecontroller.messages import (
    CONFIGMAP,
    ENDPOINTS,
    ENDPOINTSLIST,
    LIST_NAMES,
    LIST_NAMESPACE,
    NODE,
    NULL_NAMESPACE,
    PERSISTENTVOLUME,
    PERSISTENTVOLUMECLAIM,
    POD,
    PODLIST,
    SECRET,
    SERVICE,
    SERVICELIST,
)
from modules.edgecontroller.objects import (
    for_v1_1,
    node_of,
    part_of,
    selects,
    uid_of,
    version_of,
)

Store = dict[Key, Object]
Value = TypeVar("Value")

#: The members of each list: they are sent to every edge node, singly or in the list.
LISTED: Final = {SERVICELIST: SERVICE, ENDPOINTSLIST: ENDPOINTS}

#: Types that are sent to every edge node, not only to those that need them.
FOR_EVERY_NODE: Final = frozenset(LISTED.values())

#: Types that are sent only as answers to queries: their stores are empty.
_ASKED_FOR: Final = (PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM)

#: Limit of deleted services and endpoints whose deletion is still sent to nodes that connect.
_MAX_TOMBSTONES = 1000


async def at_once(_: str) -> None:
    """Wait for nothing: the store has the pods of all nodes."""


@dataclass
class State:
    """The shared state. `stores`, by message type, and `nodes` (edge nodes) are the reflectors'.

    `live` is False until all stores are complete; until then nothing becomes due.
    """

    record: Record
    nodes: Store = field(default_factory=dict)
    stores: dict[str, Store] = field(
        default_factory=lambda: {
            type_: {} for type_ in (POD, CONFIGMAP, SECRET, SERVICE, ENDPOINTS, *_ASKED_FOR)
        }
    )
    #: The objects set aside, by message type; nodes keep the last usable state of them.
    aside: dict[str, Mapping[Key, Aside]] = field(default_factory=dict)
    due: DueSet = field(default_factory=DueSet)
    locations: LocationCache = field(default_factory=LocationCache)
    #: node -> connected; an absent node is of unknown state, and may be connected.
    connections: dict[str, bool] = field(default_factory=dict)
    #: node -> protocol generation of its last connection (modules/common/wire/generations.py).
    generations: dict[str, str] = field(default_factory=dict)
    #: Nodes whose kubelets read their Node from their own database (KubeEdge 1.23 on).
    reads_own_node: set[str] = field(default_factory=set)
    #: Their Nodes as read from the API, until they are sent.
    whole_nodes: dict[str, Object] = field(default_factory=dict)
    #: Until when they are not sent it, by the monotonic clock: until then the node must show
    #: whether its database has one (registrations.py).
    node_held_until: dict[str, float] = field(default_factory=dict)
    #: Those that have been sent it on their present connection.
    sent_own_node: set[str] = field(default_factory=set)
    live: bool = False
    #: Whether this is one of several replicas.
    is_replica: bool = False
    #: Waits until the pods of a node are in the store; as one of several replicas it may be that
    #: they are still being read. Raises Unreachable if that takes long.
    pods_known: Callable[[str], Awaitable[None]] = at_once
    #: Nodes that may have objects from another cloudcore, which the record does not have.
    unrecorded_nodes: set[str] = field(default_factory=set)
    #: Nodes that are sent lists when they are connected: there may be few of very many.
    _with_lists: dict[str, None] = field(default_factory=dict)
    _computed: dict[Hashable, Any] = field(default_factory=dict)

    def changed(self) -> None:
        """Invalidate what was computed from the stores, one of which has changed."""
        self._computed.clear()

    def has_node(self, node: str) -> bool:
        """Whether there is a Node of a name, as far as is known here."""
        return ("", node) in self.nodes

    def is_of_today(self, node: str) -> bool:
        """Whether a node's edge is known to be one of today."""
        return self.generations.get(node) == V1_23

    def found_of_today(self, nodes: set[str]) -> None:
        """Note nodes that have ObjectSyncs: of a single cloudcore no other edges have them."""
        for node in nodes - self.record.generations().keys():
            self.record.set_generation(node, V1_23)
        for node, generation in self.record.generations().items():
            self.learn_generation(node, generation)

    def learn_generation(self, node: str, generation: str) -> None:
        """Note the protocol generation of a node's edge."""
        self.generations[node] = generation
        self.place(node)

    def place(self, node: str) -> None:
        """Note whether a node is one that is sent lists, when its Node or generation has changed.

        What generation a node's edge is that is connected to another replica is not known.
        """
        generation = self.generations.get(node)
        may_be_here = generation is not None or not self.is_replica
        if self.has_node(node) and generation != V1_23 and may_be_here:
            self._with_lists[node] = None
        else:
            self._with_lists.pop(node, None)

    def forget(self, node: str) -> None:
        """Forget all but the record of a node that is gone."""
        by_node: tuple[dict[str, Any], ...] = (
            self.connections,
            self.generations,
            self.whole_nodes,
            self.node_held_until,
        )
        for known in by_node:
            known.pop(node, None)
        for nodes in (self.reads_own_node, self.sent_own_node, self.unrecorded_nodes):
            nodes.discard(node)
        self.place(node)

    def reachable(self, node: str) -> bool:
        """Whether to send to a node: an edge node that is not known to be disconnected."""
        return self.has_node(node) and self.connections.get(node, True)

    def reachable_nodes(self) -> Iterator[str]:
        return (name for _, name in self.nodes if self.connections.get(name, True))

    def nodes_with_lists(self) -> Iterator[str]:
        """Return the reachable nodes that are sent services and endpoints: those of v1.1."""
        return (name for name in self._with_lists if self.connections.get(name, True))

    def known(self, target: Target) -> Object | None:
        """Return the object of that name as it is cached, whichever node it is for."""
        if target.type == NODE:
            return self.nodes.get(("", target.name))
        return self.stores[target.type].get((target.namespace, target.name))

    def desired(self, target: Target) -> Object | None:
        """Return the object that the node should have; None if it should have none.

        None, too, of which there is an outline and which is set aside: it cannot be read.
        """
        obj = self.known(target)
        if obj is None or (isinstance(obj, Outline) and self.is_aside(target.item)):
            return None
        if target.type == POD and node_of(obj) != target.node:
            return None
        if target.type in (CONFIGMAP, SECRET):
            return obj if self.locations.needs(target.node, target.item) else None
        return obj

    def is_aside(self, item: Item) -> bool:
        """Whether an object is set aside; nodes that have it keep their state of it."""
        type_, *key = item
        return tuple(key) in self.aside.get(type_, ())

    def unread(self, target: Target) -> list[Item]:
        """Return what is to be read before a node is sent an object: it, or what a pod needs."""
        if target.type == POD:
            items = self.locations.needed_by((target.namespace, target.name))
        else:
            items = [target.item]
        return [
            item
            for item in items
            if isinstance(self.stores[item[0]].get(item[1:]), Outline) and not self.is_aside(item)
        ]

    def is_fresh(self, type_: str, event: WatchEvent) -> bool:
        """Whether the API has just created an object, so that no node can have it."""
        return event.type == "ADDED" and not self.is_aside((type_, *key_of(event.object)))

    def mark_holders(self, item: Item) -> None:
        """Make an object due to every node that may have it."""
        if not self.live:
            return
        for_every_node = self.record.uid(EVERY_NODE, item) is not None
        for node in self.reachable_nodes():
            if for_every_node or self.record.uid(node, item) is not None:
                self.due.mark(Target(node, *item))

    def version(self, target: Target) -> str:
        """Return the version of a target's present state; empty if it does not exist."""
        if target.type in LISTED:
            listed = self.stores[LISTED[target.type]]
            return self._once(target.type, lambda: _version_of(listed.values()))
        if target.type == PODLIST:
            pods = self.pods_of_service(target.namespace, target.name) or ()
            return self._once((target.type, target.item), lambda: _version_of(pods))
        if target.type == NODE:
            return str(self.nodes.get(("", target.node), {}).get("digest", ""))
        obj = self.desired(target)
        return version_of(obj) if obj else ""

    def pods_of_service(self, namespace: str, name: str) -> list[Object] | None:
        """Return the pods behind a service as edges of v1.1 get them.

        None where a selector does not say which.
        """
        service = self.stores[SERVICE].get((namespace, name))
        selector = part_of(service, "spec").get("selector")
        if not selector:
            return None
        pods = self.stores[POD].items()
        return self._once(
            (namespace, name),
            lambda: [
                for_v1_1(POD, pod)
                for key, pod in pods
                if key[0] == namespace and selects(selector, pod)
            ],
        )

    def mark_all(self, node: str, *, unless_seen: bool = False) -> None:
        """Make a node's whole state due: needs of its pods, pods, deletions, lists.

        With `unless_seen`, what it has acknowledged is omitted; this is for a node that has been
        connected since, and so still has it.
        """
        if not self.live or not self.reachable(node):
            return
        told = self.record.items(node)
        items = [
            *self.locations.items_for(node),
            *((POD, *key) for key in self.locations.pods_on(node)),
            *(item for item in told if item[0] in self.stores),
        ]
        if self.is_of_today(node):
            self.unrecorded_nodes.discard(node)  # it stores an insert as it does an update
            self._mark_items(node, [node_item(node), *items], unless_seen=unless_seen)
            return
        if told:
            self.unrecorded_nodes.discard(node)
        else:
            self.unrecorded_nodes.add(node)
        self._mark_items(node, [*items, *self.tombstones()], unless_seen=unless_seen)
        self.mark_lists(node, unless_seen=unless_seen)

    def _mark_items(self, node: str, items: list[Item], *, unless_seen: bool) -> None:
        for item in items:
            self.due.mark(Target(node, *item), unless_seen=unless_seen)

    def mark_lists(self, node: str, *, unless_seen: bool = False) -> None:
        """Make services, the pods behind each, and endpoints due to a node."""
        mark = self.due.mark
        mark(list_target(node, SERVICELIST), unless_seen=unless_seen)
        for namespace, name in self.stores[SERVICE]:
            mark(Target(node, PODLIST, namespace, name), unless_seen=unless_seen)
        mark(list_target(node, ENDPOINTSLIST), unless_seen=unless_seen)

    def tombstones(self) -> list[Item]:
        """Return the deleted services and endpoints that nodes may still have."""
        told = self.record.items(EVERY_NODE)
        gone = [
            (type_, namespace, name)
            for type_, namespace, name in told
            if (namespace, name) not in self.stores[type_]
            and not self.is_aside((type_, namespace, name))
        ]
        if len(gone) > _MAX_TOMBSTONES:
            self.record.remove(EVERY_NODE, gone[:-_MAX_TOMBSTONES])
        return gone[-_MAX_TOMBSTONES:]

    def _once(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return a value for all nodes, computed once until a store changes."""
        if key not in self._computed:
            self._computed[key] = compute()
        value: Value = self._computed[key]
        return value


def node_item(node: str) -> Item:
    """Return the item of a node's own Node."""
    return NODE, NULL_NAMESPACE, node


def list_target(node: str, type: str) -> Target:  # noqa: A002 - KubeEdge's word
    return Target(node, type, LIST_NAMESPACE, LIST_NAMES[type])


def list_of(target: Target) -> Target:
    """Return the list of which a target is a member."""
    whole = next(whole for whole, type_ in LISTED.items() if type_ == target.type)
    return list_target(target.node, whole)


def _version_of(objects: Iterable[Object]) -> str:
    """Return one version for many objects, a hash of theirs."""
    versions = sorted((uid_of(obj), version_of(obj)) for obj in objects)
    return hashlib.blake2b(repr(versions).encode(), digest_size=8).hexdigest()

"""Location cache: the configmaps and secrets that each node needs for the pods bound to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from modules.common.kube import Key, Object
from modules.common.pod_references import references
from modules.common.sync.journal import Item
from modules.edgecontroller.objects import node_of

#: A node and something it needs.
Need = tuple[str, Item]


class LocationCache:
    """The needs of nodes, updated on each pod event; unlike in KubeEdge, needs end with pods."""

    def __init__(self) -> None:
        self.on_unneeded: Callable[[Item], None] = lambda _: None
        """called with what no node needs any more"""
        self._needs: dict[Key, frozenset[Need]] = {}
        self._pods: defaultdict[str, set[Key]] = defaultdict(set)
        self._users: defaultdict[Item, Counter[str]] = defaultdict(Counter)

    def place(self, key: Key, pod: Object) -> set[Need]:
        """Add or update a pod; return the needs that have begun or ended with it."""
        node = node_of(pod)
        before = self._needs.get(key, frozenset())
        after = frozenset((node, item) for item in references(pod))
        self._needs[key] = after
        self._pods[node].add(key)
        if after == before:
            return set()
        begun = {need for need in after - before if self._count(need, 1) == 1}
        return begun | self._end(before - after)

    def remove(self, key: Key, pod: Object) -> set[Need]:
        """Remove a pod; return the needs that have ended with it."""
        node = node_of(pod)
        self._pods[node].discard(key)
        if not self._pods[node]:
            del self._pods[node]
        return self._end(self._needs.pop(key, frozenset()))

    def nodes_of(self, item: Item) -> list[str]:
        """Return the nodes that need a configmap or secret."""
        return list(self._users[item]) if item in self._users else []

    def needs(self, node: str, item: Item) -> bool:
        return item in self._users and node in self._users[item]

    def needed_by(self, pod: Key) -> list[Item]:
        """Return all configmaps and secrets that a pod needs."""
        return [item for _, item in self._needs.get(pod, ())]

    def pods_with(self, node: str, item: Item) -> list[Key]:
        """Return the pods on a node that need a configmap or secret."""
        return [pod for pod in self.pods_on(node) if (node, item) in self._needs[pod]]

    def pods_on(self, node: str) -> list[Key]:
        return sorted(self._pods.get(node, ()))

    def items_for(self, node: str) -> list[Item]:
        """Return all configmaps and secrets that a node needs."""
        pods = self._pods.get(node, ())
        return sorted({item for pod in pods for _, item in self._needs[pod]})

    def _end(self, needs: frozenset[Need]) -> set[Need]:
        return {need for need in needs if self._count(need, -1) == 0}

    def _count(self, need: Need, step: int) -> int:
        node, item = need
        users = self._users[item]
        users[node] += step
        left = users[node]
        if not left:
            del users[node]
        if not users:
            del self._users[item]
            self.on_unneeded(item)
        return left

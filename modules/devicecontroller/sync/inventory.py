"""Which devices each node has, out of what the reflectors hold.

Edges know a device by its name alone, so of several devices with one name on one node, from
different namespaces, one can be there: the oldest. The next one takes its place when it goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from modules.common.kube import Aside, Key, Object, key_of
from modules.devicecontroller.v1alpha1.device import model_of, node_of

At = TypeVar("At")


class DeviceSlot(NamedTuple):
    """The place of one device at one edge node."""

    node: str
    name: str


class Profile(NamedTuple):
    """The device profile of one node for the mappers of one namespace."""

    node: str
    namespace: str


def slot_of(device: Object) -> DeviceSlot | None:
    """The slot a device claims; None if it names no node."""
    node = node_of(device)
    return DeviceSlot(node, device["metadata"]["name"]) if node else None


class Inventory:
    """Indexes of the devices by slot and by model; the objects stay in the reflectors' stores."""

    def __init__(
        self,
        devices: dict[Key, Object],
        models: dict[Key, Object],
        nodes: dict[Key, Object],
        aside: Mapping[Key, Aside] | None = None,
        models_aside: Mapping[Key, Aside] | None = None,
    ) -> None:
        """Set up; `aside` and `models_aside` are what the reflectors have set aside."""
        self.devices = devices
        self.models = models
        self.known_nodes = nodes
        self.aside: Mapping[Key, Aside] = {} if aside is None else aside
        self.models_aside: Mapping[Key, Aside] = {} if models_aside is None else models_aside
        self._by_node: defaultdict[str, defaultdict[str, set[Key]]] = defaultdict(
            lambda: defaultdict(set)
        )
        self._by_model: defaultdict[Key, set[Key]] = defaultdict(set)

    def add(self, device: Object) -> None:
        key = key_of(device)
        self._by_model[model_of(device)].add(key)
        if slot := slot_of(device):
            self._by_node[slot.node][slot.name].add(key)

    def remove(self, device: Object) -> None:
        """Forget a device as it was when it was added."""
        key = key_of(device)
        _discard(self._by_model, model_of(device), key)
        if slot := slot_of(device):
            names = self._by_node[slot.node]
            _discard(names, slot.name, key)
            if not names:
                del self._by_node[slot.node]

    def slots(self) -> Iterator[DeviceSlot]:
        for node, names in self._by_node.items():
            for name in names:
                yield DeviceSlot(node, name)

    def claimants(self, slot: DeviceSlot) -> set[Key]:
        """The devices that claim a slot, whether or not they get it."""
        names = self._by_node.get(slot.node)
        return names.get(slot.name, set()) if names else set()

    def at(self, slot: DeviceSlot) -> Object | None:
        """The device that has a slot."""
        found = [self.devices[key] for key in self.claimants(slot)]
        return min(found, key=_seniority, default=None)

    def on_node(self, node: str) -> list[Object]:
        """A node's devices, by name."""
        present = (self.at(DeviceSlot(node, name)) for name in sorted(self._by_node.get(node, {})))
        return [device for device in present if device is not None]

    def in_profile(self, profile: Profile) -> list[Object]:
        """The devices that belong in a profile, by name."""
        devices = self.on_node(profile.node)
        return [device for device in devices if key_of(device)[0] == profile.namespace]

    def bound_to(self, node: str) -> list[Key]:
        """The devices that name a node, whether or not they have a slot there."""
        names: Mapping[str, set[Key]] = self._by_node.get(node, {})
        return [key for claimants in names.values() for key in claimants]

    def using(self, model: Key) -> list[Object]:
        """The devices that refer to a model."""
        return [self.devices[key] for key in self._by_model.get(model, ())]

    @property
    def nodes(self) -> int:
        """How many nodes have devices."""
        return len(self._by_node)


def _seniority(device: Object) -> tuple[str, Key]:
    return device["metadata"].get("creationTimestamp", ""), key_of(device)


def _discard(index: defaultdict[At, set[Key]], at: At, key: Key) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]

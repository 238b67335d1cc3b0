"""The devices of each node, indexed from the stores of the reflectors.

Edges know a device by its name alone. If a node has devices of one name from several namespaces,
the oldest holds the slot, and the next oldest takes over when it is deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from modules.common.device_references import selected_node
from modules.common.kube import Aside, Key, Object, key_of
from modules.devicecontroller.compressed import CompressedDevice, decompressed
from modules.devicecontroller.v1alpha1.device import model_of

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
    """Return the slot that a device claims; None if it names no node."""
    node = device.node if isinstance(device, CompressedDevice) else selected_node(device)
    return DeviceSlot(node, device["metadata"]["name"]) if node else None


class Inventory:
    """Indexes of the devices by slot and by model over the stores, which the reflectors fill."""

    def __init__(
        self,
        devices: dict[Key, Object],
        models: dict[Key, Object],
        nodes: dict[Key, Object],
        aside: Mapping[Key, Aside] | None = None,
        models_aside: Mapping[Key, Aside] | None = None,
    ) -> None:
        """Set up; `aside` and `models_aside` are the objects that the reflectors have set aside."""
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
        """Return the devices that claim a slot, whether or not they hold it."""
        names = self._by_node.get(slot.node)
        return names.get(slot.name, set()) if names else set()

    def holder(self, slot: DeviceSlot) -> Key | None:
        """Return which device holds a slot: the oldest."""
        return min(self.claimants(slot), key=self._seniority, default=None)

    def at(self, slot: DeviceSlot) -> Object | None:
        """Return the device that holds a slot, decompressed."""
        key = self.holder(slot)
        return None if key is None else decompressed(self.devices[key])

    def on_node(self, node: str) -> list[Object]:
        """Return the devices of a node, decompressed, sorted by name."""
        present = (self.at(DeviceSlot(node, name)) for name in sorted(self._by_node.get(node, {})))
        return [device for device in present if device is not None]

    def in_profile(self, profile: Profile) -> list[Object]:
        """Return the devices of a profile, decompressed, sorted by name."""
        devices = self.on_node(profile.node)
        return [device for device in devices if key_of(device)[0] == profile.namespace]

    def bound_to(self, node: str) -> list[Key]:
        """Return the devices that name a node, whether or not they hold a slot."""
        names: Mapping[str, set[Key]] = self._by_node.get(node, {})
        return [key for claimants in names.values() for key in claimants]

    def using(self, model: Key) -> list[Object]:
        """Return the devices that refer to a model, as they are kept."""
        return [self.devices[key] for key in self._by_model.get(model, ())]

    @property
    def nodes(self) -> int:
        """The number of nodes with devices."""
        return len(self._by_node)

    def _seniority(self, key: Key) -> tuple[str, Key]:
        return self.devices[key]["metadata"].get("creationTimestamp", ""), key


def _discard(index: defaultdict[At, set[Key]], at: At, key: Key) -> None:
    index[at].discard(key)
    if not index[at]:
        del index[at]

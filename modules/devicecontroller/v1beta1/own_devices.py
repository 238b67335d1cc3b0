"""The devices of one of several replicas: whole are those of the nodes that it serves.

It needs to know of all devices which node and which model each is for, to begin with a node that
comes, and for the conditions that the leader writes. What a node is sent it needs of its own alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from modules.common.device_references import node_of
from modules.common.kube import Key, Object
from modules.common.sync.outlines import Outline, OutlineReflector
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import DeviceOutline


class OwnDevices(OutlineReflector):
    """A reflector whose store has the devices of some nodes whole, and outlines of all others."""

    def __init__(
        self,
        *args: Any,
        inventory: Inventory,
        keep: Callable[[Any], Object | None],
        on_whole: Callable[[str, Key], None],
        **options: Any,
    ) -> None:
        """Set up; `keep` reduces a device that is kept whole.

        `on_whole` gets each device that was read, and its node.
        """
        self._inventory = inventory
        self._on_whole = on_whole
        self._nodes: set[str] = set()

        def keep_some(obj: Any) -> Object | None:
            kept = keep(obj)
            return kept if kept is None or self._is_own(kept) else DeviceOutline.of(kept)

        super().__init__(
            *args,
            store=inventory.devices,
            keep=keep_some,
            outline_of=DeviceOutline.of,
            is_needed=lambda key: self._is_own(self.store[key]),
            on_read=self._was_read,
            **options,
        )

    def serve(self, node: str) -> None:
        """Keep a node's devices whole from now on; those that it lacks are read."""
        self._nodes.add(node)

    def forget(self, nodes: Iterable[str]) -> None:
        """Reduce the devices of nodes that have gone for long."""
        for node in nodes:
            self._nodes.discard(node)
            for key in self._inventory.on_node(node):
                self.reduce(key)

    def _is_own(self, device: Object) -> bool:
        return node_of(device) in self._nodes

    def _was_read(self, key: Key) -> None:
        device = self.store.get(key)
        if device is not None and not isinstance(device, Outline):
            self._on_whole(node_of(device), key)

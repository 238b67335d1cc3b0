"""What a change of a device, a model or a DeviceStatus in the API affects."""

from __future__ import annotations

from collections.abc import Callable

from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE
from modules.common.kube import Key, Object, WatchEvent, key_of
from modules.common.sync.record import Record
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.acceptance import Acceptance
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.node_updates import NodeUpdater
from modules.devicecontroller.v1beta1.objects import digest_of, model_of, node_of
from modules.devicecontroller.v1beta1.statuses import StatusWriter


class Changes:
    """The handlers of watch events: they keep the inventory up, and enqueue what is affected."""

    def __init__(
        self,
        inventory: Inventory,
        record: Record,
        edges: Edges,
        *,
        updater: NodeUpdater,
        writer: StatusWriter,
        acceptance: Acceptance,
        on_change: Callable[[], None],
    ) -> None:
        """Set up; `on_change` is called after each change of a device or a model."""
        self._inventory = inventory
        self._record = record
        self._edges = edges
        self._updater = updater
        self._writer = writer
        self._acceptance = acceptance
        self._on_change = on_change

    def device_changed(self, event: WatchEvent) -> None:
        device, old = event.object, event.old
        key = key_of(device)
        if old:
            self._inventory.remove(old)
        if event.type != "DELETED":
            self._inventory.add(device)
        if event.type == "DELETED" or (old and node_of(old) != node_of(device)):
            self._writer.forget(key)
        if old is None or event.type == "DELETED":
            self._writer.statuses.ensure(key)
        if old is None or event.type == "DELETED" or digest_of(old) != digest_of(device):
            self._acceptance.enqueue(key)
            if old:
                gone = event.type == "DELETED" or node_of(old) != node_of(device)
                self._mark(old, last=old if gone else None)
            if event.type != "DELETED":
                self._mark(device)
        else:
            self._updater.keep_up(node_of(device), key)
        self._on_change()

    def device_aside_changed(self, key: Key) -> None:
        """Check a device that was set aside, or is no longer set aside."""
        self._acceptance.enqueue(key)
        if key not in self._inventory.aside:
            for node in self._record.nodes():
                if self._record.row(node, (DEVICE_TYPE, *key)):
                    self._updater.mark(node, DEVICE_TYPE, key)
        self._on_change()

    def model_changed(self, event: WatchEvent) -> None:
        last = event.old if event.type == "DELETED" else None
        self._mark_model(key_of(event.object), last)

    def model_aside_changed(self, key: Key) -> None:
        """Check the devices of a model that was set aside, or is no longer set aside."""
        self._mark_model(key)

    def _mark(self, device: Object, last: Object | None = None) -> None:
        """Have a device and its model compared with what its node has."""
        node, model = node_of(device), model_of(device)
        if node:
            self._edges.ask_if_unknown(node)
        if node and model:
            last_model = self._inventory.models.get(model) if last else None
            self._updater.mark(node, MODEL_TYPE, model, last_model)
        if node:
            self._updater.mark(node, DEVICE_TYPE, key_of(device), last)
            self._check_namesakes(node, key_of(device))

    def _check_namesakes(self, node: str, device: Key) -> None:
        """Check the other devices of that name: an edge that knows names alone has one of them."""
        for key in self._inventory.namesakes(node, device[1]) - {device}:
            self._acceptance.enqueue(key)
            self._updater.mark(node, DEVICE_TYPE, key)

    def _mark_model(self, model: Key, last: Object | None = None) -> None:
        """Have a model compared with what the nodes of its devices have, and then the devices."""
        for key in self._inventory.using(model):
            self._acceptance.enqueue(key)
            if node := node_of(self._inventory.devices[key]):
                self._updater.mark(node, MODEL_TYPE, model, last)
                self._updater.mark(node, DEVICE_TYPE, key)
        self._on_change()

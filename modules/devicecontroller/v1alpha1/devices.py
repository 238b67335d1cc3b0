"""From the API to the edges: event handlers that enqueue what a change affects.

These are the flows of cloud/pkg/devicecontroller/controller/downstream.go, but level-triggered:
what is sent depends on the present state, not on the change.
"""

from __future__ import annotations

import asyncio

from modules.common.kube import (
    CONFIGMAPS,
    DEVICEMODELS,
    DEVICES,
    Key,
    Object,
    Reflector,
    WatchEvent,
    key_of,
)
from modules.common.replicas.report_fence import ReportFence
from modules.common.sync.takeovers import Takeovers
from modules.devicecontroller.compressed import CompressedDevice, decompressed
from modules.devicecontroller.dependencies import Dependencies
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.status.acceptance import Acceptance
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.v1alpha1.device import (
    keep_compressed,
    keep_device,
    keep_model,
    keep_read,
    lost_reports,
    twins_of,
)
from modules.devicecontroller.v1alpha1.faults import fault_of
from modules.devicecontroller.v1alpha1.kubectl_apply import difference
from modules.devicecontroller.v1alpha1.profiles.profile_writer import (
    SELECTOR,
    ProfileWriter,
    keep_profile,
)
from modules.devicecontroller.v1alpha1.reported_values import StatusWriter
from modules.devicecontroller.v1alpha1.sync.inventory import (
    DeviceSlot,
    Inventory,
    Profile,
    slot_of,
)
from modules.devicecontroller.v1alpha1.sync.node_sync import NodeSync
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord


class Devices:
    """Watches devices, models and profiles, and enqueues nodes, profiles and conditions."""

    def __init__(
        self,
        common: Dependencies,
        record: SyncRecord,
        duties: Duties,
        *,
        takeovers: Takeovers | None = None,
        fence: ReportFence | None = None,
    ) -> None:
        """Set up; of several replicas with what keeps the record, and a fence for reports."""
        client, set_aside = common.client, common.set_aside
        #: Whether devices of this version are served.
        self.runs = False
        self._on_change = common.on_change
        self._record = record
        self._inventory = inventory = Inventory({}, {}, common.known_nodes)
        status = StatusPatcher(client, DEVICES, keep_read, fence=fence)
        self.writer = StatusWriter(status, inventory, set_aside)
        self._devices = common.reflect(
            DEVICES,
            self._device_changed,
            store=inventory.devices,
            keep=keep_device if takeovers is None else keep_compressed,
            on_aside=self._device_aside_changed,
        )
        self._models = common.reflect(
            DEVICEMODELS,
            self._model_changed,
            store=inventory.models,
            keep=keep_model,
            on_aside=self._enqueue_users,
        )
        self._profiles = Reflector(
            client,
            CONFIGMAPS,
            self._profile_changed,
            namespace=common.namespace,
            label_selector=SELECTOR,
            keep=keep_profile,
            set_aside=set_aside,
        )
        self.reflectors = (self._devices, self._models, self._profiles)
        inventory.aside = self._devices.aside
        inventory.models_aside = self._models.aside
        self.node_sync = NodeSync(common.context, inventory, record, set_aside, takeovers)
        self._profile_writer = ProfileWriter(
            client, inventory, self._profiles.store, set_aside, duties
        )
        self._acceptance = Acceptance(
            status,
            inventory,
            lambda device: fault_of(device, inventory, self.node_sync.takes_devices),
            set_aside,
            on_change=common.on_change,
            duty=lambda device: duties.towards(_node_of(device)),
        )

    async def run(self, profile_workers: int) -> None:
        """Reconcile until cancelled; call it when the caches are complete."""
        self.runs = True
        self._adopt_missed()
        self.node_sync.enqueue_all()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.node_sync.queue.run())
            tasks.create_task(self._profile_writer.queue.run(profile_workers))
            tasks.create_task(self._acceptance.queue.run())

    def lead(self) -> None:
        """Begin with what the leader of several replicas does."""
        for key in self._inventory.devices.keys() | self._inventory.aside.keys():
            self._acceptance.enqueue(key)
        for slot in self._inventory.slots():
            for namespace, _ in self._inventory.claimants(slot):
                self._profile_writer.enqueue(Profile(slot.node, namespace))
        for configmap in self._profiles.store.values():
            self._profile_changed(WatchEvent("ADDED", configmap))

    def retry_now(self) -> None:
        """Retry all failed writes at once, after an outage of the API."""
        self._profile_writer.queue.retry_now()
        self._acceptance.queue.retry_now()

    def stop(self) -> None:
        self.node_sync.queue.stop()
        self._profile_writer.queue.stop()
        self._acceptance.queue.stop()

    def count(self) -> dict[str, int]:
        """Return the numbers for `cloudcore status`."""
        return {
            "devices": len(self._devices.store),
            "device_models": len(self._models.store),
            "nodes_with_devices": self._inventory.nodes,
            "rejected_devices": self._acceptance.count,
            "set_aside": sum(len(reflector.aside) for reflector in self.reflectors),
        }

    def queues(self) -> dict[str, int]:
        """Return the depths of the queues, by their names in the metrics."""
        return {
            "announcements": len(self.node_sync.queue),
            "profiles": len(self._profile_writer.queue),
            "rejections": len(self._acceptance.queue),
            "statuses": len(self.writer.queue),
        }

    def edge_changed(self, node: str) -> None:
        """Have a node's devices checked."""
        for device in self._inventory.bound_to(node):
            self._acceptance.enqueue(device)

    def _device_changed(self, event: WatchEvent) -> None:
        device, old = event.object, event.old
        if old:
            self._inventory.remove(old)
        if event.type != "DELETED":
            self._inventory.add(device)
            if device.get("seeded") and (slot := slot_of(device)):
                self.writer.adopt(slot, {})
        left = slot_of(old or device)
        if left and not self._inventory.claimants(left):
            self.writer.forget(left)
        if event.type == "DELETED":
            self._enqueue(device, last=decompressed(device))
        elif old is None:
            self._enqueue(device)
        else:
            self._device_modified(device, old)
        self._on_change()

    def _device_modified(self, device: Object, old: Object) -> None:
        slot = slot_of(device)
        if _differ_in_values_alone(old, device):
            if slot:
                self.node_sync.enqueue(slot)
            return
        device, old = decompressed(device), decompressed(old)
        if old["spec"] != device["spec"]:
            # The new node first: as in Go, a device that moves is added there before it is removed.
            self._enqueue(device)
            if slot_of(old) != slot:
                self._enqueue(old, last=_at_version(old, device))
        elif slot:
            self.node_sync.enqueue(slot)
        if slot and (lost := lost_reports(old, device)):
            self.writer.restore(slot, lost)
        if slot and device.get("applied") != old.get("applied"):
            self._adopt(slot, old, device)

    def _adopt(self, slot: DeviceSlot, old: Object, device: Object) -> None:
        """Copy the changes of the applied manifest into the status."""
        changed = difference(old.get("applied", {}), device.get("applied", {}))
        present = {twin["propertyName"]: twin.get("desired") for twin in twins_of(device)}
        news = {name: wanted for name, wanted in changed.items() if present.get(name) != wanted}
        if news:
            self.writer.adopt(slot, news)

    def _adopt_missed(self) -> None:
        """Copy the changes that were applied while this module was not running."""
        for slot in self._record.slots():
            told, device = self._record.get(slot), self._inventory.at(slot)
            if told and device:
                self._adopt(slot, told.device, device)

    def _enqueue(self, device: Object, last: Object | None = None) -> None:
        self._acceptance.enqueue(key_of(device))
        slot = slot_of(device)
        if slot is None:
            return
        self.node_sync.enqueue(slot, last)
        for claimant in self._inventory.claimants(slot):
            # If several devices claim the slot, another one may hold it now.
            self._acceptance.enqueue(claimant)
            self._profile_writer.enqueue(Profile(slot.node, claimant[0]))
        self._profile_writer.enqueue(Profile(slot.node, key_of(device)[0]))

    def _model_changed(self, event: WatchEvent) -> None:
        self._enqueue_users(key_of(event.object))

    def _enqueue_users(self, model: Key) -> None:
        """Enqueue the devices that refer to a model."""
        for device in self._inventory.using(model):
            self._acceptance.enqueue(key_of(device))
            if slot := slot_of(device):
                self._profile_writer.enqueue(Profile(slot.node, key_of(device)[0]))
        self._on_change()

    def _device_aside_changed(self, key: Key) -> None:
        """Enqueue a device that was set aside, or is no longer set aside."""
        self._acceptance.enqueue(key)
        if key not in self._devices.aside:
            for slot in self._record.slots():
                told = self._record.get(slot)
                if told and key_of(told.device) == key:
                    self.node_sync.enqueue(slot)
        self._on_change()

    def node_changed(self, event: WatchEvent) -> None:
        """Handle a Node that has come or gone."""
        if event.type != "MODIFIED":
            self.edge_changed(event.object["metadata"]["name"])

    def _profile_changed(self, event: WatchEvent) -> None:
        self._profile_writer.enqueue_configmap(event.object)


def _differ_in_values_alone(old: Object, device: Object) -> bool:
    """Whether that can be seen of two compressed states of a device, and is so."""
    if isinstance(old, CompressedDevice) and isinstance(device, CompressedDevice):
        return device.digest == old.digest
    return False


def _at_version(device: Object, newer: Object) -> Object:
    """Return the old device, stamped with the resourceVersion of the change that replaced it."""
    version = newer["metadata"].get("resourceVersion", "")
    return device | {"metadata": device["metadata"] | {"resourceVersion": version}}


def _node_of(device: Object) -> str:
    slot = slot_of(device) if device else None
    return slot.node if slot else ""

"""The devices of v1beta1: watches them, and enqueues what a change affects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

import ipc
from modules.common import message_resource
from modules.common.kube import (
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    Reflector,
    WatchEvent,
)
from modules.common.log_limit import LogLimit
from modules.common.replicas.report_fence import ReportFence
from modules.common.sync.record import Record, drop_rows_of_gone_nodes
from modules.common.sync.takeovers import Takeovers
from modules.devicecontroller.dependencies import Dependencies
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edge_messages import event_id_of
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.acceptance import Acceptance
from modules.devicecontroller.status.report_queue import Origin
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.v1beta1 import messages
from modules.devicecontroller.v1beta1.changes import Changes
from modules.devicecontroller.v1beta1.device_lists import ListRequest
from modules.devicecontroller.v1beta1.faults import fault_of
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.node_updates import NodeUpdater
from modules.devicecontroller.v1beta1.objects import (
    RESOURCES,
    compressing,
    keep_written,
    node_of,
    reader,
)
from modules.devicecontroller.v1beta1.shapes import DEVICE, MODEL
from modules.devicecontroller.v1beta1.statuses import StatusWriter

#: Limit of an edge's reason in a log line, in characters.
_LONGEST: Final = 300

log = logging.getLogger(__name__)


class Devices:
    """Everything about devices of v1beta1: the way down and the way up."""

    def __init__(
        self,
        common: Dependencies,
        record: Record,
        edges: Edges,
        duties: Duties,
        *,
        takeovers: Takeovers | None = None,
        fence: ReportFence | None = None,
    ) -> None:
        """Set up; of several replicas with what keeps the record, and a fence for reports."""
        client, set_aside, definitions = common.client, common.set_aside, common.definitions
        #: Whether devices of this version are served.
        self.runs = False
        self._record = record
        self._edges = edges
        self._is_replica = takeovers is not None
        self._log = LogLimit(log)
        self._inventory = inventory = Inventory(common.known_nodes)
        self.updater = NodeUpdater(
            common.context,
            inventory,
            record,
            edges,
            set_aside,
            has_statuses=definitions.has_device_statuses,
            takeovers=takeovers,
        )
        self.writer = StatusWriter(
            client,
            inventory,
            set_aside,
            duties,
            namespace=common.namespace,
            has_statuses=definitions.has_device_statuses,
            fence=fence,
        )
        self._acceptance = Acceptance(
            StatusPatcher(client, DEVICES_V1BETA1, keep_written, subresource=""),
            inventory,
            lambda device: fault_of(device, inventory, edges),
            set_aside,
            on_change=common.on_change,
            duty=lambda device: duties.towards(node_of(device)),
        )
        self._devices, self._models = self._make_reflectors(common)

    def _make_reflectors(self, common: Dependencies) -> tuple[Reflector, Reflector]:
        inventory, is_alone = self._inventory, common.definitions.is_v1beta1_alone
        changes = Changes(
            inventory,
            self._record,
            self._edges,
            updater=self.updater,
            writer=self.writer,
            acceptance=self._acceptance,
            on_change=common.on_change,
        )
        keep = reader(DEVICE, DEVICES_V1BETA1, is_alone)
        devices = common.reflect(
            DEVICES_V1BETA1,
            changes.device_changed,
            store=inventory.devices,
            keep=compressing(keep) if self._is_replica else keep,
            on_aside=changes.device_aside_changed,
        )
        models = common.reflect(
            DEVICEMODELS_V1BETA1,
            changes.model_changed,
            store=inventory.models,
            keep=reader(MODEL, DEVICEMODELS_V1BETA1, is_alone),
            on_aside=changes.model_aside_changed,
        )
        inventory.aside = devices.aside
        inventory.models_aside = models.aside
        return devices, models

    @property
    def reflectors(self) -> tuple[Reflector, ...]:
        """The reflectors of what is served."""
        return self._devices, self._models

    @property
    def nodes(self) -> set[str]:
        """The nodes with devices, and those that may have some."""
        return {*self._inventory.nodes(), *self._record.nodes()}

    async def run(self, workers: int) -> None:
        """Reconcile until cancelled; call it when the caches are complete."""
        self.runs = True
        self.updater.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.updater.run())
            tasks.create_task(self.writer.queue.run(workers))
            tasks.create_task(self.writer.statuses.run())
            tasks.create_task(self._acceptance.queue.run())
            if not self._is_replica:
                tasks.create_task(drop_rows_of_gone_nodes(self._record, self._has_node))

    def lead(self) -> None:
        """Begin with what the leader of several replicas does."""
        self.writer.statuses.compare_soon()
        for key in self._inventory.devices.keys() | self._inventory.aside.keys():
            self._acceptance.enqueue(key)

    def retry_now(self) -> None:
        """Retry all that has failed at once, after an outage of the API."""
        self.writer.queue.retry_now()
        self._acceptance.queue.retry_now()

    def stop(self) -> None:
        self.updater.stop()
        self.writer.queue.stop()
        self._acceptance.queue.stop()

    def count(self) -> dict[str, int]:
        """Return the numbers for `cloudcore status`."""
        return {
            "devices": len(self._devices.store),
            "device_models": len(self._models.store),
            "nodes_with_devices": len(list(self._inventory.nodes())),
            "rejected_devices": self._acceptance.count,
            "set_aside": len(self._devices.aside) + len(self._models.aside),
        }

    def queues(self) -> dict[str, int]:
        """Return the depths of the queues, by their names in the metrics."""
        return {
            "announcements": len(self.updater),
            "rejections": len(self._acceptance.queue),
            "statuses": len(self.writer.queue),
        }

    def node_changed(self, event: WatchEvent) -> None:
        """Handle a Node that has come or gone, or whose edge has become another version."""
        node = event.object["metadata"]["name"]
        if event.type == "DELETED":
            self._record.forget_seen(node)  # what comes back may be another machine
        elif event.type == "ADDED":
            self._record.node_exists(node)
        else:
            self.updater.ids_changed(node)
        self.edge_changed(node)

    def forget(self, nodes: Iterable[str]) -> None:
        """Forget what only the replica needs that serves these nodes: they have gone for long."""
        for node in nodes:
            for key in self._inventory.on_node(node):
                self.writer.forget(key)

    def connected(self, node: str) -> None:
        """Send a connected node what it has not acknowledged."""
        self.updater.restart(node)
        self.edge_changed(node)

    def disconnected(self, node: str) -> None:
        self.updater.disconnected(node)

    def edge_changed(self, node: str) -> None:
        """Have a node's devices checked, and sent if they are due."""
        self.updater.mark_all(node)
        for key in self._inventory.on_node(node):
            self._acceptance.enqueue(key)

    def lost(self, node: str) -> None:
        """Send a node again all that it has acknowledged: it has lost its database."""
        self._log.put(node, logging.INFO, f"node {node}: all of its devices are sent again")
        self.updater.lost(node)

    def answered(self, node: str, message: ipc.Message) -> None:
        """Take an edge's acknowledgement of a device or a model, or its refusal."""
        self._hear_from(node)
        about = message_resource.parse(message.resource)
        if about.type not in RESOURCES:
            return
        item = about.type, about.namespace, about.name
        if message.operation == messages.RESPONSE:
            self.updater.acknowledged(node, item, message.parent_id)
        else:
            self.updater.refused(node, item, str(message.content)[:_LONGEST])

    def report(self, node: str, about: str, message: ipc.Message, origin: Origin) -> bool:
        """Queue a report for writing; return whether it was queued.

        One about an unknown device, or about that of another node, is dropped. Raises BadObject if
        it is malformed.
        """
        self._hear_from(node)
        subject = messages.subject_of(about)
        if subject is None:
            log.debug("message %s %s: nothing to do", message.operation, message.resource)
            return False
        key = self._inventory.device_at(node, subject.device)
        if key is None:
            text = f"node {node}: report about unknown device {subject.device} dropped"
            self._log.put(node, logging.INFO, text)
            return False
        read = messages.state if subject.is_state else messages.reports
        self.writer.write(key, read(message.content), origin)
        return True

    def send_members(self, node: str, message: ipc.Message, done: Callable[[], None]) -> None:
        """Confirm a question for the list of devices, and send the list, which has no parent id."""
        self._hear_from(node)
        request = ListRequest(message.id, event_id_of(message.content), done)
        self.updater.send_list(node, request)

    def _has_node(self, node: str) -> bool:
        return ("", node) in self._inventory.known_nodes

    def _hear_from(self, node: str) -> None:
        if self._edges.heard_from(node):
            self.connected(node)

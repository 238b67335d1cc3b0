"""The controller of one process: connects to the API, fills its caches, then reconciles.

Devices of both API versions are served side by side, each by its own room (v1alpha1, v1beta1); a
message of an edge goes to the one that its edge knows (upstream.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec

from modules.common.kube import (
    DEVICES,
    DEVICES_V1BETA1,
    NODES,
    EventRecorder,
    Key,
    KubeClient,
    Object,
    Reflector,
    SetAside,
    WatchEvent,
    ready_meanwhile,
    synced,
)
from modules.common.replicas.report_fence import fence_of
from modules.common.sync.journal import Item
from modules.common.sync.record import DROP_INTERVAL, Record
from modules.common.sync.record_in_api import RecordInApi
from modules.common.wire.generations import V1_23
from modules.devicecontroller.crds import Definitions
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.edges import Edges, keep_version
from modules.devicecontroller.replica import Replica
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.telemetry import Telemetry
from modules.devicecontroller.upstream import Upstream
from modules.devicecontroller.v1alpha1 import devices as v1alpha1
from modules.devicecontroller.v1alpha1.device import keep_read
from modules.devicecontroller.v1alpha1.reported_values import StatusWriter
from modules.devicecontroller.v1alpha1.sync.inventory import Inventory
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord
from modules.devicecontroller.v1beta1 import devices as v1beta1
from modules.devicecontroller.v1beta1.objects import RESOURCES

if TYPE_CHECKING:
    from modules.devicecontroller.config import DeviceControllerConfig
    from supervisor.api import ModuleContext, Settings

#: Timeout in seconds for the messages in flight when the module is asked to stop.
_DRAIN: Final = 3.0

#: The records of what nodes have been told, of each API version.
TOLD: Final = "told.jsonl"
DELIVERED: Final = "delivered.jsonl"

log = logging.getLogger(__name__)


async def run(context: ModuleContext, config: DeviceControllerConfig, settings: Settings) -> None:
    """Synchronize devices until asked to stop."""
    directory = settings.data_dir / "devicecontroller"
    async with KubeClient.connect(settings, user_agent="cloudcore-devicecontroller") as client:
        with (
            contextlib.closing(SyncRecord(directory / TOLD)) as told,
            contextlib.closing(Record(directory / DELIVERED, msgspec.json.decode)) as delivered,
        ):
            await _Controller(context, config, settings, client, (told, delivered)).run()


class _Controller:
    def __init__(
        self,
        context: ModuleContext,
        config: DeviceControllerConfig,
        settings: Settings,
        client: KubeClient,
        records: tuple[SyncRecord, Record],
    ) -> None:
        told, delivered = records
        self._context = context
        self._config = config
        self._client = client
        self._namespace = settings.kubernetes.namespace or None
        self._recorder = EventRecorder(client, "devicecontroller")
        self._set_aside = set_aside = SetAside(self._recorder, client.module)
        self._definitions = Definitions(client, install=config.install_crds)
        #: Set when devices of a version are about to be served.
        self._begun = {each.version: asyncio.Event() for each in (DEVICES, DEVICES_V1BETA1)}
        known_nodes: dict[Key, Object] = {}
        self._nodes = Reflector(
            client,
            NODES,
            self._node_changed,
            store=known_nodes,
            keep=keep_version,
            set_aside=set_aside,
        )
        fence = fence_of(client, settings.replicas)
        status = StatusPatcher(client, DEVICES, keep_read, fence=fence)
        inventory = Inventory({}, {}, known_nodes)
        self._writer = StatusWriter(status, inventory, set_aside)
        self._replica: Replica | None = None
        if settings.replicas.enabled:
            self._replica = Replica(
                client,
                settings,
                told,
                delivered,
                set_aside,
                on_foreign_alpha=self._read_again,
                on_foreign_beta=self._unsure,
                on_forgotten_alpha=self._writer.forget_nodes,
                on_forgotten_beta=self._forgotten,
            )
        replica = self._replica
        self._edges = Edges(
            context,
            {} if replica is not None else told.generations(),
            known_nodes,
            self._edge_changed,
            on_connected=self._connected if replica is not None else None,
        )
        duties = Duties(self._edges, replica.election if replica is not None else None)
        self._alpha = v1alpha1.Devices(
            client,
            context,
            told,
            inventory,
            self._writer,
            namespace=self._namespace,
            on_change=self._report_soon,
            status=status,
            definitions=self._definitions,
            set_aside=set_aside,
            takeovers=replica.alpha if replica is not None else None,
            duties=duties,
        )
        self._beta = v1beta1.Devices(
            client,
            context,
            delivered,
            self._edges,
            known_nodes,
            namespace=self._namespace,
            on_change=self._report_soon,
            definitions=self._definitions,
            set_aside=set_aside,
            takeovers=replica.beta if replica is not None else None,
            fence=fence,
            duties=duties,
        )
        self._record_in_api: RecordInApi | Replica
        if replica is None:
            self._record_in_api = RecordInApi(
                client,
                delivered,
                RESOURCES,
                namespace=self._namespace,
                is_of_today=self._edges.are_of_today,
                on_found=self._found_of_today,
            )
        else:
            self._record_in_api = replica
        self._upstream = Upstream(
            context,
            self._alpha,
            self._beta,
            self._edges,
            set_aside,
            limit=config.update_device_status_buffer,
            replica=replica,
        )
        self._telemetry = Telemetry(
            context,
            client,
            self._watched,
            self._alpha,
            self._beta,
            self._writer,
            records,
            self._record_in_api,
            self._nodes.aside,
        )

    async def run(self) -> None:
        """Run until asked to stop; messages in flight by then are still handled."""
        async with asyncio.TaskGroup() as tasks:
            parts = (
                self._nodes.run(),
                self._definitions.look(),
                self._client.health.report_to(self._context),
                self._telemetry.run(),
                self._work(),
                self._recorder.run(),
                self._retry_after_outages(),
                self._forget_gone(),
            )
            work = [tasks.create_task(part) for part in parts]
            await self._context.stopped()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN):
                    await self._upstream.drain()
            for task in work:
                task.cancel()
        self._alpha.stop()
        self._beta.stop()
        self._writer.queue.stop()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if self._replica is not None:
                for reflector in self._replica.index.reflectors:
                    tasks.create_task(reflector.run())
                opening = self._replica.open()
                await ready_meanwhile(opening, self._context, "reading what nodes have")
                tasks.create_task(self._replica.run())
            starting = (
                tasks.create_task(self._start(DEVICES.version, self._alpha, self._run_alpha)),
                tasks.create_task(self._start(DEVICES_V1BETA1.version, self._beta, self._run_beta)),
            )
            await self._read_all()
            if self._replica is not None:
                nodes = {name for _, name in self._nodes.store}
                tasks.create_task(self._edges.ask(nodes))
                tasks.create_task(self._replica.lead(self._alpha, self._beta))
            tasks.create_task(self._upstream.run())
            await asyncio.wait(starting)

    async def _start(
        self,
        version: str,
        devices: v1alpha1.Devices | v1beta1.Devices,
        work: Callable[[], Awaitable[None]],
    ) -> None:
        """Watch devices of a version as soon as it is served, and serve them until cancelled."""
        await self._definitions.served(version)
        async with asyncio.TaskGroup() as tasks:
            for reflector in devices.reflectors:
                tasks.create_task(reflector.run())
            for reflector in (self._nodes, *devices.reflectors):
                await reflector.synced()
            await work()

    async def _run_alpha(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._alpha.run(self._config.profile_workers))
            self._begun[DEVICES.version].set()
            tasks.create_task(self._writer.queue.run(self._config.update_device_status_workers))

    async def _run_beta(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if self._replica is None:
                if self._config.record == "objectsync":
                    await self._record_in_api.open()
                    tasks.create_task(self._record_in_api.run())
                tasks.create_task(self._edges.ask(self._beta.nodes))
            tasks.create_task(self._beta.run(self._config.update_device_status_workers))
            self._begun[DEVICES_V1BETA1.version].set()

    def _report_soon(self) -> None:
        self._telemetry.soon()

    def _connected(self, node: str, generation: str) -> None:
        self._upstream.connected(node, generation, has_just=False)

    def _unsure(self, node: str, item: Item) -> None:
        self._beta.updater.unsure(node, item)

    def _forgotten(self, nodes: set[str]) -> None:
        self._beta.forget(nodes)

    def _read_again(self, node: str) -> None:
        """Begin anew with a node of which another replica has written the record, if it is here."""
        if self._edges.are_connected(node):
            self._upstream.doubt(node)

    def _found_of_today(self, nodes: set[str]) -> None:
        """Note nodes that have ObjectSyncs of devices: their edges know those of v1beta1."""
        for node in nodes:
            if not self._edges.is_other(node):
                self._alpha.node_sync.learn(node, V1_23)
        self._edges.found_of_today(nodes)

    async def _read_all(self) -> None:
        """Wait until the caches of all versions that are served are complete, and in use."""
        await synced(
            self._watched, self._client.health, self._context, first=self._definitions.found()
        )
        for version, begun in self._begun.items():
            if self._definitions.serves(version):
                await begun.wait()
        self._telemetry.now()
        self._context.ready()

    def _watched(self) -> list[Reflector]:
        """Return the reflectors that run."""
        found = [self._nodes]
        if self._replica is not None:
            found += self._replica.index.reflectors
        for version, devices in (
            (DEVICES.version, self._alpha),
            (DEVICES_V1BETA1.version, self._beta),
        ):
            if self._definitions.serves(version):
                found += devices.reflectors
        return found

    async def _retry_after_outages(self) -> None:
        while True:
            await self._client.health.recovered()
            self._alpha.retry_now()
            self._beta.retry_now()
            self._writer.queue.retry_now()

    async def _forget_gone(self) -> None:
        """Forget the connections of nodes that are gone, until cancelled."""
        while True:
            await asyncio.sleep(DROP_INTERVAL)
            for node in self._edges.forget_gone():
                self._alpha.node_sync.forget(node)

    def _node_changed(self, event: WatchEvent) -> None:
        self._alpha.node_changed(event)
        self._beta.node_changed(event)

    def _edge_changed(self, node: str) -> None:
        """Handle what CloudHub has answered about a node."""
        self._upstream.drop_if_elsewhere(node)
        if self._edges.are_of_today(node):
            self._alpha.node_sync.learn(node, V1_23)
        self._alpha.edge_changed(node)
        self._beta.edge_changed(node)

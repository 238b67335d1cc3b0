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
from modules.common.sync.record import DROP_INTERVAL, Record
from modules.common.wire.generations import V1_23
from modules.devicecontroller.crds import Definitions
from modules.devicecontroller.dependencies import Dependencies
from modules.devicecontroller.edges import SOURCE, keep_version
from modules.devicecontroller.parts import Parts
from modules.devicecontroller.telemetry import Telemetry
from modules.devicecontroller.upstream import Upstream
from modules.devicecontroller.v1alpha1 import devices as v1alpha1
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord
from modules.devicecontroller.v1beta1 import devices as v1beta1

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
            await Controller(context, config, settings, client, (told, delivered)).run()


class Controller:
    """The parts of a running DeviceController."""

    def __init__(
        self,
        context: ModuleContext,
        config: DeviceControllerConfig,
        settings: Settings,
        client: KubeClient,
        records: tuple[SyncRecord, Record],
    ) -> None:
        self._context = context
        self._config = config
        self._client = client
        self._recorder = EventRecorder(client, SOURCE)
        set_aside = SetAside(self._recorder, client.module)
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
        common = Dependencies(
            client,
            context,
            namespace=settings.kubernetes.namespace or None,
            definitions=self._definitions,
            set_aside=set_aside,
            known_nodes=known_nodes,
            on_change=self._report_soon,
        )
        told, delivered = records
        if settings.replicas.enabled:
            parts = Parts.replica(common, told, delivered, self, settings.replicas)
        else:
            parts = Parts.single(common, told, delivered, self)
        self._parts = parts
        self.alpha = v1alpha1.Devices(
            common, told, parts.duties, takeovers=parts.alpha, fence=parts.fence
        )
        self.beta = v1beta1.Devices(
            common, delivered, parts.edges, parts.duties, takeovers=parts.beta, fence=parts.fence
        )
        self.upstream = Upstream(
            context,
            self.alpha,
            self.beta,
            parts.edges,
            set_aside,
            health=client.health,
            limit=config.update_device_status_buffer,
            takeovers=parts.takeovers,
        )
        self._telemetry = Telemetry(
            context,
            client,
            self._watched,
            self.alpha,
            self.beta,
            records,
            parts.record_in_api,
            self._nodes.aside,
        )

    async def run(self) -> None:
        """Run until asked to stop; messages in flight by then are still handled."""
        async with asyncio.TaskGroup() as tasks:
            jobs = (
                self._nodes.run(),
                self._definitions.look(),
                self._client.health.report_to(self._context),
                self._telemetry.run(),
                self._work(),
                self._recorder.run(),
                self._retry_after_outages(),
                self._forget_gone(),
            )
            work = [tasks.create_task(job) for job in jobs]
            await self._context.stopped()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN):
                    await self.upstream.drain()
            for task in work:
                task.cancel()
        self.alpha.stop()
        self.beta.stop()
        self.alpha.writer.queue.stop()

    async def _work(self) -> None:
        parts = self._parts
        async with asyncio.TaskGroup() as tasks:
            for reflector in parts.sync_index:
                tasks.create_task(reflector.run())
            if parts.takeovers is not None:
                opening = parts.takeovers.open()
                await ready_meanwhile(opening, self._context, "reading what nodes have")
                tasks.create_task(parts.takeovers.run())
            starting = (
                tasks.create_task(self._start(DEVICES.version, self.alpha, self._run_alpha)),
                tasks.create_task(self._start(DEVICES_V1BETA1.version, self.beta, self._run_beta)),
            )
            await self._read_all()
            if parts.lead is not None:
                nodes = {name for _, name in self._nodes.store}
                tasks.create_task(parts.edges.ask(nodes))
                tasks.create_task(parts.lead())
            tasks.create_task(self.upstream.run())
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
            tasks.create_task(self.alpha.run(self._config.profile_workers))
            self._begun[DEVICES.version].set()
            tasks.create_task(
                self.alpha.writer.queue.run(self._config.update_device_status_workers)
            )

    async def _run_beta(self) -> None:
        parts = self._parts
        async with asyncio.TaskGroup() as tasks:
            if parts.takeovers is None:
                if self._config.record == "objectsync":
                    await parts.record_in_api.open()
                    tasks.create_task(parts.record_in_api.run())
                tasks.create_task(parts.edges.ask(self.beta.nodes))
            tasks.create_task(self.beta.run(self._config.update_device_status_workers))
            self._begun[DEVICES_V1BETA1.version].set()

    def _report_soon(self) -> None:
        self._telemetry.soon()

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
        found = [self._nodes, *self._parts.sync_index]
        for version, devices in (
            (DEVICES.version, self.alpha),
            (DEVICES_V1BETA1.version, self.beta),
        ):
            if self._definitions.serves(version):
                found += devices.reflectors
        return found

    async def _retry_after_outages(self) -> None:
        while True:
            await self._client.health.recovered()
            self.alpha.retry_now()
            self.beta.retry_now()
            self.alpha.writer.queue.retry_now()

    async def _forget_gone(self) -> None:
        """Forget the connections of nodes that are gone, until cancelled."""
        while True:
            await asyncio.sleep(DROP_INTERVAL)
            for node in self._parts.edges.forget_gone():
                self.alpha.node_sync.forget(node)

    def _node_changed(self, event: WatchEvent) -> None:
        self.alpha.node_changed(event)
        self.beta.node_changed(event)

    def edge_changed(self, node: str) -> None:
        """Handle what CloudHub has answered about a node."""
        self.upstream.drop_if_elsewhere(node)
        if self._parts.edges.are_of_today(node):
            self.alpha.node_sync.learn(node, V1_23)
        self.alpha.edge_changed(node)
        self.beta.edge_changed(node)

"""The controller of one process: connects to the API, fills its caches, then reconciles."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from modules.common.kube import DEVICES, EventRecorder, KubeClient, SetAside, synced
from modules.devicecontroller.crds import Definitions
from modules.devicecontroller.metrics import QUEUE_DEPTH
from modules.devicecontroller.status.status_patch import StatusPatcher
from modules.devicecontroller.upstream import Upstream
from modules.devicecontroller.v1alpha1.device import keep_device
from modules.devicecontroller.v1alpha1.devices import Downstream
from modules.devicecontroller.v1alpha1.reported_values import StatusWriter
from modules.devicecontroller.v1alpha1.sync.inventory import Inventory
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord

if TYPE_CHECKING:
    from modules.devicecontroller.config import DeviceControllerConfig
    from supervisor.api import ModuleContext, Settings

#: Timeout in seconds for the messages in flight when the module is asked to stop.
_DRAIN: Final = 3.0

#: Seconds between updates of the details in `cloudcore status`.
_REPORT: Final = 0.2

#: Seconds between updates of the metrics.
_MEASURE: Final = 1.0

log = logging.getLogger(__name__)


async def run(context: ModuleContext, config: DeviceControllerConfig, settings: Settings) -> None:
    """Synchronize devices until asked to stop."""
    path = settings.data_dir / "devicecontroller" / "told.jsonl"
    async with KubeClient.connect(settings, user_agent="cloudcore-devicecontroller") as client:
        with contextlib.closing(SyncRecord(path)) as record:
            await _Controller(context, config, settings, client, record).run()


class _Controller:
    def __init__(
        self,
        context: ModuleContext,
        config: DeviceControllerConfig,
        settings: Settings,
        client: KubeClient,
        record: SyncRecord,
    ) -> None:
        self._context = context
        self._record = record
        self._config = config
        self._client = client
        self._namespace = settings.kubernetes.namespace or None
        self._report_due = False
        self._recorder = EventRecorder(client, "devicecontroller")
        set_aside = SetAside(self._recorder, client.module)
        status = StatusPatcher(client, DEVICES, keep_device)
        inventory = Inventory({}, {}, {})
        self._writer = StatusWriter(status, inventory, set_aside)
        self._downstream = Downstream(
            client,
            context,
            record,
            inventory,
            self._writer,
            namespace=self._namespace,
            on_change=self._report_soon,
            status=status,
            definitions=Definitions(client, install=config.install_crds),
            set_aside=set_aside,
        )
        self._upstream = Upstream(
            context,
            self._downstream.node_sync,
            self._writer,
            set_aside,
            limit=config.update_device_status_buffer,
        )

    async def run(self) -> None:
        """Run until asked to stop; messages in flight by then are still handled."""
        async with asyncio.TaskGroup() as tasks:
            parts = (
                self._downstream.watch(),
                self._client.health.report_to(self._context),
                self._measure(),
                self._work(),
                self._recorder.run(),
                self._retry_after_outages(),
            )
            work = [tasks.create_task(part) for part in parts]
            await self._context.stopped()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN):
                    await self._upstream.drain()
            for task in work:
                task.cancel()
        self._downstream.stop()
        self._writer.stop()

    async def _work(self) -> None:
        await self._read_all()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._downstream.run(self._config.profile_workers))
            tasks.create_task(self._writer.run(self._config.update_device_status_workers))
            tasks.create_task(self._upstream.run())

    async def _read_all(self) -> None:
        await synced(self._downstream.reflectors, self._client.health, self._context)
        self._report()
        self._context.ready()

    async def _retry_after_outages(self) -> None:
        while True:
            await self._client.health.recovered()
            self._downstream.retry_now()
            self._writer.retry_now()

    async def _measure(self) -> None:
        """Update the metrics once a second."""
        while True:
            self._downstream.measure()
            self._flush_record()
            QUEUE_DEPTH.labels("statuses").set(len(self._writer))
            await asyncio.sleep(_MEASURE)

    def _flush_record(self) -> None:
        self._record.flush()
        self._context.report(trouble=self._record.trouble.reason)

    def _report_soon(self) -> None:
        if not self._report_due:
            self._report_due = True
            asyncio.get_running_loop().call_later(_REPORT, self._report)

    def _report(self) -> None:
        self._report_due = False
        self._context.report(**self._downstream.details())

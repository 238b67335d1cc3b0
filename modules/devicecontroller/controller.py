"""The life of the module: connect, read what there is, then keep both sides in step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from modules.common.kube import EventRecorder, KubeClient, SetAside, synced
from modules.devicecontroller.crds import Definitions
from modules.devicecontroller.downstream import Downstream
from modules.devicecontroller.metrics import QUEUE_DEPTH
from modules.devicecontroller.status.reported_values import StatusWriter
from modules.devicecontroller.status.status_patch import DeviceStatus
from modules.devicecontroller.sync.record import SyncRecord
from modules.devicecontroller.upstream import Upstream

if TYPE_CHECKING:
    from modules.devicecontroller.config import DeviceControllerConfig
    from modules.devicecontroller.sync.inventory import DeviceSlot
    from modules.devicecontroller.v1alpha1.device import Object
    from supervisor.api import ModuleContext, Settings

#: Seconds that messages already taken may take to be handled when the module is to stop.
_DRAIN: Final = 3.0

#: Seconds between updates of the details in `cloudcore status`.
_REPORT: Final = 0.2

#: Seconds between updates of the metrics.
_MEASURE: Final = 1.0

log = logging.getLogger(__name__)


async def run(context: ModuleContext, config: DeviceControllerConfig, settings: Settings) -> None:
    """Synchronize devices until asked to stop."""
    record = SyncRecord(settings.data_dir / "devicecontroller" / "announced.sqlite3")
    async with KubeClient.connect(settings, user_agent="cloudcore-devicecontroller") as client:
        with record as announced:
            await _Controller(context, config, settings, client, announced).run()


class _Controller:
    def __init__(
        self,
        context: ModuleContext,
        config: DeviceControllerConfig,
        settings: Settings,
        client: KubeClient,
        announced: SyncRecord,
    ) -> None:
        self._context = context
        self._announced = announced
        self._config = config
        self._client = client
        self._namespace = settings.kubernetes.namespace or None
        self._report_due = False
        self._recorder = EventRecorder(client, "devicecontroller")
        set_aside = SetAside(self._recorder, client.module)
        status = DeviceStatus(client)
        self._downstream = Downstream(
            client,
            context,
            announced,
            namespace=self._namespace,
            on_change=self._report_soon,
            on_lost=self._restore,
            on_applied=self._adopt,
            on_gone=self._forget,
            status=status,
            recorder=self._recorder,
            definitions=Definitions(client, install=config.install_crds),
            set_aside=set_aside,
        )
        self._writer = StatusWriter(status, self._downstream.inventory, set_aside)
        self._upstream = Upstream(
            context,
            self._downstream.announcer,
            self._writer,
            set_aside,
            limit=config.update_device_status_buffer,
        )

    async def run(self) -> None:
        """Run until asked to stop; what was taken from the inbox by then is finished."""
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

    def _restore(self, slot: DeviceSlot, lost: dict[str, Object]) -> None:
        self._writer.restore(slot, lost)

    def _adopt(self, slot: DeviceSlot, applied: dict[str, Object | None]) -> None:
        self._writer.adopt(slot, applied)

    def _forget(self, slot: DeviceSlot) -> None:
        self._writer.forget(slot)

    async def _measure(self) -> None:
        """Bring the metrics up to date now and then."""
        while True:
            self._downstream.measure()
            self._look_after_record()
            QUEUE_DEPTH.labels("statuses").set(len(self._writer))
            await asyncio.sleep(_MEASURE)

    def _look_after_record(self) -> None:
        self._announced.flush()
        self._context.report(trouble=self._announced.trouble.reason)

    def _report_soon(self) -> None:
        if not self._report_due:
            self._report_due = True
            asyncio.get_running_loop().call_later(_REPORT, self._report)

    def _report(self) -> None:
        self._report_due = False
        self._context.report(**self._downstream.details())

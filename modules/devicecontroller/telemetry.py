"""What an operator sees of the controller: the details in `cloudcore status`, and metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Final

from modules.common.kube import KubeClient, Reflector
from modules.common.kube.metrics import CACHED_OBJECTS
from modules.common.sync.record import Record
from modules.devicecontroller import metrics
from modules.devicecontroller.v1alpha1 import devices as v1alpha1
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord
from modules.devicecontroller.v1beta1 import devices as v1beta1
from supervisor.api import ModuleContext

#: Seconds between updates of the details in `cloudcore status`.
_REPORT: Final = 0.2

#: Seconds between updates of the metrics.
_MEASURE: Final = 1.0


@dataclass(eq=False)
class Telemetry:
    """Reads the state of the controller's parts, of both API versions."""

    context: ModuleContext
    client: KubeClient
    watched: Callable[[], list[Reflector]]
    """returns the reflectors that run"""
    alpha: v1alpha1.Devices
    beta: v1beta1.Devices
    records: tuple[SyncRecord, Record]
    record_in_api: Sized
    nodes_aside: Sized
    _is_due: bool = False
    _sent: int = 0

    async def run(self) -> None:
        """Update the metrics once a second."""
        while True:
            cached: Counter[str] = Counter()
            for reflector in self.watched():
                cached[reflector.resource.plural] += len(reflector.store)
            for plural, number in cached.items():
                CACHED_OBJECTS.labels(self.client.module, plural).set(number)
            depths = Counter(self.alpha.queues()) + Counter(self.beta.queues())
            depths["objectsyncs"] = len(self.record_in_api)
            for name in metrics.QUEUES:
                metrics.QUEUE_DEPTH.labels(name).set(depths[name])
            metrics.REJECTED_DEVICES.set(self._count()["rejected_devices"])
            sent = self.alpha.node_sync.sent + self.beta.updater.sent
            metrics.MESSAGES_SENT.inc(sent - self._sent)
            self._sent = sent
            self._flush_records()
            await asyncio.sleep(_MEASURE)

    def _flush_records(self) -> None:
        for record in self.records:
            record.flush()
        reasons = [record.trouble.reason for record in self.records]
        self.context.report(trouble=next(filter(None, reasons), ""))

    def soon(self) -> None:
        """Report what has changed to `cloudcore status`, together with what changes meanwhile."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(_REPORT, self.now)

    def now(self) -> None:
        self._is_due = False
        self.context.report(**self._count())

    def _count(self) -> Counter[str]:
        """Return the numbers for `cloudcore status`, of both versions."""
        found: Counter[str] = Counter()
        for counts in (self.alpha.count(), self.beta.count()):
            for name, number in counts.items():
                found[name] += number
        found["set_aside"] += len(self.nodes_aside)
        return found

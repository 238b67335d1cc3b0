"""What an operator sees of the controller: the details in `cloudcore status`, and metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from modules.common.kube import KubeClient, Reflector
from modules.common.sync.record_in_api import RecordInApi
from modules.common.sync.takeovers import Takeovers
from modules.edgecontroller import metrics
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.upstream.dispatch import Upstream
from supervisor.api import ModuleContext

_REPORT_SECONDS: Final = 1.0


@dataclass(eq=False)
class Telemetry:
    """Reads the state of the controller's parts once a second."""

    context: ModuleContext
    client: KubeClient
    state: State
    reflectors: list[Reflector]
    updater: NodeUpdater
    upstream: Upstream
    cloudhub: CloudHubClient
    record_in_api: RecordInApi | Takeovers
    _measured: Counter[str] = field(default_factory=Counter, init=False)

    async def run(self) -> None:
        """Report the details for `cloudcore status` when they have changed."""
        shown: dict[str, Any] = {}
        while True:
            self.measure()
            details = self.details()
            if details != shown:
                self.context.report(**details)
                shown = details
            await asyncio.sleep(_REPORT_SECONDS)

    def measure(self) -> None:
        """Update the metrics; hot paths count in plain integers, which are exported here."""
        for reflector in self.reflectors:
            reflector.measure()
        self.updater.measure()
        metrics.QUEUE_DEPTH.labels("outbox").set(len(self.state.due))
        metrics.QUEUE_DEPTH.labels("objectsyncs").set(len(self.record_in_api))
        for kind, queue in self.upstream.queues.items():
            metrics.QUEUE_DEPTH.labels(kind).set(len(queue))
            metrics.MESSAGES_HANDLED.labels(kind).inc(self._growth(kind, queue.handled))
            dropped = self._growth(f"{kind} dropped", queue.dropped)
            metrics.MESSAGES_DROPPED.labels(kind).inc(dropped)
        dropped = self._growth("flood dropped", self.upstream.dropped)
        metrics.MESSAGES_DROPPED.labels("flood").inc(dropped)
        metrics.MESSAGES_SENT.inc(self._growth("sent", self.cloudhub.sent))
        metrics.CONNECTED_NODES.set(sum(self.state.connections.values()))

    def _growth(self, name: str, count: int) -> int:
        """Return by how much a count has grown since the last call."""
        before, self._measured[name] = self._measured[name], count
        return count - before

    def details(self) -> dict[str, Any]:
        statistics = [reflector.statistics for reflector in self.reflectors]
        return {
            "server": self.client.server,
            "cached": self.counts(),
            "connected_nodes": sum(self.state.connections.values()),
            "set_aside": sum(len(reflector.aside) for reflector in self.reflectors),
            "told": len(self.state.record),
            "trouble": self.state.record.trouble.reason,
            "due": len(self.state.due),
            "sent": self.cloudhub.sent,
            "pending": self.upstream.pending,
            "handled": self.upstream.handled,
            "watch_restarts": sum(counts.watches for counts in statistics) - len(statistics),
            "relists": sum(counts.lists for counts in statistics) - len(statistics),
            "api_errors": dict(self.client.statistics.errors),
            "api_away_seconds": round(self.client.health.failing_for),
        }

    def counts(self) -> dict[str, int]:
        return {reflector.resource.plural: len(reflector.store) for reflector in self.reflectors}

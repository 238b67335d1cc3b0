"""CloudHub's part in a fleet of several replicas, in its first process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from modules.cloudhub.replicas.lease_watch import LeaseWatch
from modules.cloudhub.replicas.metrics import DURATION, LOST, NODES, RENEWED
from modules.cloudhub.replicas.node_leases import NodeLeases
from modules.cloudhub.replicas.presence import Presence
from modules.cloudhub.replicas.roster import Roster
from modules.common.kube import EventRecorder, KubeClient, SetAside
from modules.common.log_limit import LogLimit
from supervisor.api import ModuleContext, ReplicasSettings

#: Seconds between two reports for `cloudcore status`.
_REPORT: Final = 1.0

log = logging.getLogger(__name__)


class Membership:
    """The Lease of this replica, and those of the nodes that it holds."""

    def __init__(
        self,
        client: KubeClient,
        settings: ReplicasSettings,
        context: ModuleContext,
        address: str = "",
    ) -> None:
        """Set up; `address` is where others reach this replica, as HOST:PORT."""
        self.on_lost: Callable[[str], None] = lambda _: None
        """ends the session of a node that another replica holds now; the hub sets it"""
        self._context = context
        self._log = LogLimit(log)
        self._replica = replica = settings.identity
        self._recorder = EventRecorder(client, "cloudhub")
        set_aside = SetAside(self._recorder, client.module)
        namespace = settings.namespace
        self._watch = LeaseWatch(client, namespace, replica, set_aside)
        self.nodes = NodeLeases(client, namespace, replica, self._watch, self._lost)
        self.roster = Roster(client, namespace, self._watch)
        self._duration = settings.lease_duration
        self._presence = Presence(
            client,
            namespace,
            replica,
            duration=settings.lease_duration,
            address=address,
            nodes=self.nodes.__len__,
            on_renewed=self._watch.renewed,
        )

    async def run(self) -> None:
        """Take part until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch.run())
                tasks.create_task(self._presence.run())
                tasks.create_task(self.roster.run(self._duration))
                tasks.create_task(self._recorder.run())
                tasks.create_task(self._report())
        finally:
            self.nodes.close()

    def _lost(self, node: str, replica: str) -> None:
        self._log.put(node, logging.INFO, f"node {node}: replica {replica} holds it now")
        LOST.inc()
        self.on_lost(node)

    async def _report(self) -> None:
        DURATION.labels(self._replica).set(self._duration)
        while True:
            self._context.report(replica=self._replica, nodes_held=len(self.nodes))
            NODES.labels(self._replica).set(len(self.nodes))
            if self._presence.renewed:
                RENEWED.labels(self._replica).set(self._presence.renewed)
            await asyncio.sleep(_REPORT)

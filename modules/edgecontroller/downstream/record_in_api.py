"""The record of edges of today in the Kubernetes API too, if it is configured to be."""

from __future__ import annotations

import asyncio
import logging

from modules.common.kube import Forbidden, KubeClient, NotFound, retry
from modules.common.sync.object_syncs import ObjectSyncs
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import KEPT_BY_NODES, NODE
from modules.edgecontroller.objects import RESOURCES

log = logging.getLogger(__name__)


class RecordInApi:
    """Reads ObjectSyncs at the start, and writes them in the background."""

    def __init__(self, client: KubeClient, state: State, namespace: str | None) -> None:
        self._client = client
        self._state = state
        self._namespace = namespace
        kinds = {type_: RESOURCES[type_] for type_ in (*KEPT_BY_NODES, NODE)}
        self._syncs = ObjectSyncs(client, state.record, kinds, self._is_of_today)

    def __len__(self) -> int:
        """Return the number of ObjectSyncs that are to be written."""
        return len(self._syncs)

    async def open(self) -> None:
        """Read what there is, and make the record and the API equal.

        Without the definitions or the rights the record is in its file alone.
        """
        record = self._state.record
        try:
            nodes = await retry(lambda: self._syncs.load(self._namespace), self._client.health)
        except (NotFound, Forbidden) as error:
            log.error(
                "cannot read ObjectSyncs: %s; what nodes have is recorded in the file alone until "
                "a restart; apply deploy/crds and deploy/rbac, or set "
                'modules.edgecontroller.record = "file"',
                error,
            )
            return
        for node in nodes - record.generations().keys():
            record.set_generation(node, V1_23)  # no other edges have them
        record.keep_in(self._syncs)
        self._state.generations.update(record.generations())
        self._syncs.compare()

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._syncs.run())
                tasks.create_task(self._retry_after_outages())
        finally:
            self._syncs.stop()

    async def _retry_after_outages(self) -> None:
        while True:
            await self._client.health.recovered()
            self._syncs.retry_now()

    def _is_of_today(self, node: str) -> bool:
        return self._state.generations.get(node) == V1_23

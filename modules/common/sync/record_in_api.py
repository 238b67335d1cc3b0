"""The record of edges of today in the Kubernetes API too, if a controller is configured to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from modules.common.kube import KubeClient, KubeError, Resource, retry_listing
from modules.common.sync.object_syncs import ObjectSyncs
from modules.common.sync.record import Record

log = logging.getLogger(__name__)


class RecordInApi:
    """Reads ObjectSyncs at the start, and writes them in the background."""

    def __init__(
        self,
        client: KubeClient,
        record: Record,
        kinds: Mapping[str, Resource],
        *,
        namespace: str | None,
        is_of_today: Callable[[str], bool],
        on_found: Callable[[set[str]], None],
    ) -> None:
        """Set up; `kinds` are the kinds of the rows that are kept, by type.

        `is_of_today` says whether a node's edge is of today: no other has ObjectSyncs. `on_found`
        is called with the nodes that have some.
        """
        self._client = client
        self._record = record
        self._namespace = namespace
        self._on_found = on_found
        self._syncs = ObjectSyncs(client, record, kinds, is_of_today)

    def __len__(self) -> int:
        """Return the number of ObjectSyncs that are to be written."""
        return len(self._syncs)

    async def open(self) -> None:
        """Read what there is, and make the record and the API equal.

        Without the definitions or the rights the record is in its file alone.
        """
        try:
            nodes = await retry_listing(self._load, self._client.health)
        except KubeError as error:
            log.error(
                "cannot read ObjectSyncs: %s; what nodes have is recorded in the file alone until "
                "a restart; apply deploy/crds and deploy/rbac, or set "
                'modules.%s.record = "file"',
                error,
                self._client.module,
            )
            return
        self._on_found(nodes)
        self._record.keep_in(self._syncs)
        self._syncs.compare()

    async def _load(self) -> set[str]:
        return await self._syncs.load(self._namespace)

    async def run(self) -> None:
        """Write until cancelled."""
        await self._syncs.run()

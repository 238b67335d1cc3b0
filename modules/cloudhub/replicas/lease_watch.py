"""The watch of the Leases of nodes and replicas, which knows when it is behind.

The mark is the Lease of this replica, which is renewed anyway: it is in the same watch as the
Leases of nodes, so that one shows how far the others have been shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from modules.common.kube import (
    LEASES,
    CheckedReflector,
    KubeClient,
    Object,
    SetAside,
    Unreachable,
    WatchEvent,
    WatchProgress,
)
from modules.common.replicas.leases import LABEL, OF_NODE, OF_REPLICA, name_of, read_node_lease

#: The fields of a node's Lease that are kept: there is one for each node of the fleet.
_METADATA: Final = ("name", "namespace", "uid", "resourceVersion")
_SPEC: Final = ("holderIdentity", "leaseTransitions")


class LeaseWatch:
    """Shows the Leases of nodes and of replicas to those who look after them."""

    def __init__(
        self, client: KubeClient, namespace: str, replica: str, set_aside: SetAside
    ) -> None:
        self.on_node: Callable[[WatchEvent], None] = lambda _: None
        self.on_replica: Callable[[WatchEvent], None] = lambda _: None
        self._own = name_of(OF_REPLICA, replica)
        self._progress = WatchProgress(LEASES, "nodes that come are claimed, whoever held them")
        self._written: Object | None = None
        """the latest state of the own Lease of which it is to be seen that it is shown"""
        self._any_written = asyncio.Event()
        self._reflector = CheckedReflector(
            client,
            LEASES,
            self._seen,
            namespace=namespace,
            label_selector=f"{LABEL} in ({OF_NODE},{OF_REPLICA})",
            keep=_reduced,
            set_aside=set_aside,
            progress=self._progress,
        )

    @property
    def is_synced(self) -> bool:
        """Whether all Leases have been shown once."""
        return self._reflector.is_synced

    @property
    def is_behind(self) -> bool:
        """Whether others may have written Leases long ago that have not been shown."""
        return self._progress.is_behind

    def renewed(self, lease: Object) -> None:
        """Take note that this replica has written its own Lease."""
        self._written = lease
        self._any_written.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reflector.run())
            tasks.create_task(self._check())

    async def _check(self) -> None:
        """See that the watch shows the own Lease: of those written meanwhile, the last."""
        await self._reflector.synced()
        while True:
            await self._any_written.wait()
            self._any_written.clear()
            if lease := self._written:
                with suppress(Unreachable):  # it has been said, and the watch is opened anew
                    await self._progress.shown(lease)

    def _seen(self, event: WatchEvent) -> None:
        name = event.object["metadata"]["name"]
        if name == self._own:
            self._progress.seen(event.object)
        elif name.startswith(name_of(OF_REPLICA, "")):
            self.on_replica(event)
        else:
            self.on_node(event)


def _reduced(lease: Object) -> Object:
    """Keep what is needed of the Lease of a node."""
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    if metadata["name"].startswith(name_of(OF_REPLICA, "")):
        return lease
    read_node_lease(lease)
    return {
        "metadata": {key: metadata[key] for key in _METADATA},
        "spec": {key: spec.get(key) for key in _SPEC},
    }

"""Nodes that are gone: what replicas have written about them is removed by their leader.

An edge whose Node is gone may come back, with its database, and is sent then the deletions that it
has missed. So the ObjectSyncs and the Lease of its node stay for a day. The Lease says for how long
the node is gone, as leaders have counted: a replica that claims the node writes the Lease anew,
without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from modules.common.failure_log import FailureLog
from modules.common.kube import (
    LEASES,
    AlreadyExists,
    BadRequest,
    Conflict,
    Invalid,
    KubeClient,
    KubeError,
    NotFound,
    Object,
)
from modules.common.replicas.leases import LABEL, OF_NODE, make, named
from modules.common.sync.absences import Absences
from modules.common.sync.record import DROP_INTERVAL, EVERY_NODE, KEEP_ROWS
from modules.common.sync.sync_form import NODE_LABEL, label_of, number_of, places, read_sync

#: The annotation of a node's Lease: for how many seconds it has had no Node, as far as counted.
GONE_FOR: Final = "cloudcore.kubeedge.io/gone-for"
#: That of earlier cloudcores: since when, by the clock of one of them.
_GONE_SINCE: Final = "cloudcore.kubeedge.io/gone-since"

log = logging.getLogger(__name__)


class GoneNodes:
    """Looks for nodes that are gone, and removes what is left of them."""

    def __init__(
        self,
        client: KubeClient,
        leases: str,
        syncs: str | None,
        has_node: Callable[[str], bool],
    ) -> None:
        """Set up for the namespace of the Leases, and that of the ObjectSyncs (None: all)."""
        self._client = client
        self._namespace = leases
        self._syncs = syncs
        self._has_node = has_node
        self._absences = Absences()
        self._failures = FailureLog(log)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        self._absences.forget()
        begun = False
        while True:
            try:
                if not begun:
                    await self._note_those_without_lease()
                    begun = True
                await self.look()
            except KubeError as error:
                text = f"cannot remove what is left of nodes that are gone: {error}; {error.hint}"
                self._failures.failed("", type(error).__name__, text)
            else:
                self._failures.worked("", "what is left of nodes that are gone is removed again")
            await asyncio.sleep(DROP_INTERVAL)

    async def look(self) -> None:
        """Look at the Leases of all nodes once; raises a KubeError that is not about one alone."""
        pages = self._client.pages(LEASES, self._namespace, label_selector=f"{LABEL}={OF_NODE}")
        async for page in pages:
            for lease in page.items:
                name = lease["metadata"]["name"]
                try:
                    with suppress(Conflict, NotFound):  # a claim may have written it meanwhile
                        await self._look_at(lease)
                    self._failures.worked(name)
                except KubeError as error:
                    if error.retriable:
                        raise
                    text = f"Lease {name}: what is left of its node stays: {error}; {error.hint}"
                    self._failures.failed(name, type(error).__name__, text)

    async def _look_at(self, lease: Object) -> None:
        node = named(OF_NODE, lease["metadata"]["name"])
        counted = (lease["metadata"].get("annotations") or {}).get(GONE_FOR)
        if self._has_node(node):
            self._absences.ended(node)
            if counted is not None:
                await self._write(lease, None)
            return
        if not isinstance(counted, str) or str(number_of(counted)) != counted:
            await self._count(node, lease, 0)
            return
        seconds = self._absences.seconds(node, number_of(counted))
        if seconds < KEEP_ROWS:
            if self._absences.is_to_be_written(node):
                await self._count(node, lease, seconds)
        else:
            await self._remove_syncs(node)
            metadata = lease["metadata"]
            await self._client.delete(
                LEASES, metadata["name"], self._namespace, version=metadata["resourceVersion"]
            )
            self._absences.ended(node)
            log.info("node %s: has had no Node for a day, its record is removed", node)

    async def _count(self, node: str, lease: Object, seconds: int) -> None:
        await self._write(lease, seconds)
        self._absences.written(node)

    async def _write(self, lease: Object, seconds: int | None) -> None:
        annotations = dict(lease["metadata"].get("annotations") or {})
        annotations.pop(_GONE_SINCE, None)
        annotations.pop(GONE_FOR, None)
        if seconds is not None:
            annotations[GONE_FOR] = str(seconds)
        lease["metadata"]["annotations"] = annotations
        await self._client.replace(LEASES, lease, self._namespace)

    async def _remove_syncs(self, node: str) -> None:
        for resource, namespace in places(self._syncs):
            selector = f"{NODE_LABEL}={label_of(node)}"
            async for page in self._client.pages(resource, namespace, label_selector=selector):
                for obj in page.items:
                    metadata, sync = obj["metadata"], read_sync(obj)
                    if sync and sync.node == node:
                        with suppress(Conflict, NotFound):
                            await self._client.delete(
                                resource,
                                metadata["name"],
                                metadata.get("namespace"),
                                version=metadata["resourceVersion"],
                            )

    async def _note_those_without_lease(self) -> None:
        """Make Leases for nodes that are gone since a time without replicas."""
        gone: set[str] = set()
        for resource, namespace in places(self._syncs):
            async for page in self._client.pages(resource, namespace):
                nodes = {sync.node for obj in page.items if (sync := read_sync(obj))}
                gone |= {node for node in nodes - {EVERY_NODE} if not self._has_node(node)}
        for node in gone:
            lease = make(OF_NODE, node, {"leaseTransitions": 0})
            lease["metadata"]["annotations"] = {GONE_FOR: "0"}
            try:
                with suppress(AlreadyExists):
                    await self._client.create(LEASES, lease, self._namespace)
            except (BadRequest, Invalid) as error:  # a Lease cannot have every name
                log.warning("node %s: what is left of it stays: %s", node, error)

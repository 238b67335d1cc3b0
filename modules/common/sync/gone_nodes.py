"""Nodes that are gone: what replicas have written about them is removed by their leader.

An edge whose Node is gone may come back, with its database, and is sent then the deletions that it
has missed. So the ObjectSyncs and the Lease of its node stay for a day. The Lease says for how long
the node is gone, as leaders have counted: a replica that claims the node writes the Lease anew,
without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    Resource,
    number_of,
)
from modules.common.replicas.leases import LABEL, OF_NODE, make, named
from modules.common.sync.absences import Absences
from modules.common.sync.record import DROP_INTERVAL, EVERY_NODE, KEEP_ROWS
from modules.common.sync.sync_form import places, read_sync

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
        gone: dict[str, Object] = {}
        pages = self._client.pages(LEASES, self._namespace, label_selector=f"{LABEL}={OF_NODE}")
        async for page in pages:
            for lease in page.items:
                node = named(OF_NODE, lease["metadata"]["name"])
                with self._one_alone(node):
                    if await self._is_gone_for_long(node, lease):
                        gone[node] = lease
        if gone:
            await self._remove(gone)

    @contextmanager
    def _one_alone(self, node: str) -> Iterator[None]:
        """Go on after an error that is about one node alone."""
        try:
            with suppress(Conflict, NotFound):  # a claim may have written it meanwhile
                yield
            self._failures.worked(node)
        except KubeError as error:
            if error.retriable:
                raise
            text = f"node {node}: what is left of it stays: {error}; {error.hint}"
            self._failures.failed(node, type(error).__name__, text)

    async def _is_gone_for_long(self, node: str, lease: Object) -> bool:
        counted = (lease["metadata"].get("annotations") or {}).get(GONE_FOR)
        if self._has_node(node):
            self._absences.ended(node)
            if counted is not None:
                await self._write(lease, None)
            return False
        if not isinstance(counted, str) or str(number_of(counted)) != counted:
            await self._count(node, lease, 0)
            return False
        seconds = self._absences.seconds(node, number_of(counted))
        if seconds >= KEEP_ROWS:
            return True
        if self._absences.is_to_be_written(node):
            await self._count(node, lease, seconds)
        return False

    async def _remove(self, gone: dict[str, Object]) -> None:
        """Remove the ObjectSyncs and Leases of nodes; a Lease stays with an ObjectSync that does.

        All ObjectSyncs are listed once: to select those of one node costs the API server as much.
        """
        for resource, namespace in places(self._syncs):
            async for page in self._client.pages(resource, namespace):
                for obj in page.items:
                    sync = read_sync(obj)
                    if sync and (lease := gone.pop(sync.node, None)):
                        with self._one_alone(sync.node):
                            await self._check_unclaimed(lease)
                            await self._delete(resource, obj)
                            gone[sync.node] = lease
        for node, lease in gone.items():
            with self._one_alone(node):
                await self._delete(LEASES, lease)
                self._absences.ended(node)
                log.info("node %s: has had no Node for a day, its record is removed", node)

    async def _check_unclaimed(self, lease: Object) -> None:
        """Raise Conflict or NotFound if a Lease was written since: the node may have come back."""
        metadata = lease["metadata"]
        found = await self._client.get(LEASES, metadata["name"], self._namespace)
        if found["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise Conflict(409, "Conflict", f"Lease {metadata['name']} was written")

    async def _delete(self, resource: Resource, obj: Object) -> None:
        metadata = obj["metadata"]
        name, version = metadata["name"], metadata["resourceVersion"]
        await self._client.delete(resource, name, metadata.get("namespace"), version=version)

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

"""The Leases of nodes in the API: claims of this replica, and those of others.

They are written only when a node changes hands, and never renewed: an idle fleet costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from modules.cloudhub.replicas.lease_watch import LeaseWatch
from modules.cloudhub.replicas.metrics import TAKEN
from modules.common.kube import (
    LEASES,
    AlreadyExists,
    Conflict,
    KubeClient,
    KubeError,
    NotFound,
    Object,
    WatchEvent,
)
from modules.common.replicas.holdings import Claim, Holdings, NodeLease
from modules.common.replicas.leases import OF_NODE, name_of, named, of_claim, read_node_lease

#: Claims at a time; further ones wait.
_AT_ONCE: Final = 32
#: Seconds for a claim; an edge waits for 10 s.
_TIMEOUT: Final = 5.0
#: Attempts of a claim that other replicas were faster with.
_ATTEMPTS: Final = 5

log = logging.getLogger(__name__)

Done = Callable[[str], None]


class NodeLeases:
    """Claims nodes for this replica, and learns which ones others claim."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        replica: str,
        watch: LeaseWatch,
        on_lost: Callable[[str, str], None],
    ) -> None:
        """Set up; `on_lost` gets a node that has to be let go, and the replica that has it now."""
        self._client = client
        self._namespace = namespace
        self._on_lost = on_lost
        self._holdings = Holdings(replica)
        self._wanted: set[str] = set()
        """nodes with a session"""
        self._dialed: set[str] = set()
        """those of them that have dialed since this process knows them"""
        self._waiting: dict[str, list[Done]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._claims: set[asyncio.Task[None]] = set()
        self._watch = watch
        watch.on_node = self._seen

    def __len__(self) -> int:
        """Return the number of nodes that this replica holds."""
        return len(self._holdings)

    def other_holder(self, node: str) -> str:
        """Return the other replica that holds a node; empty if this one does, or none."""
        holder = self._holdings.holder(node)
        return holder if holder != self._holdings.replica else ""

    def held_by(self, replica: str) -> list[str]:
        """Return the nodes whose Lease names a replica."""
        return self._holdings.held_by(replica)

    def close(self) -> None:
        """Give up the claims that are on their way."""
        for claim in self._claims:
            claim.cancel()

    def claim(self, node: str, done: Done, *, has_dialed: bool = True) -> bool:
        """Claim a node for a session; whether this replica holds it already.

        If not, `done` is called later: with an empty text, or with the reason why it is not held.
        The node of a session that has not just dialed is not taken from another replica.
        """
        self._wanted.add(node)
        if has_dialed:
            self._dialed.add(node)
        if node in self._waiting:
            self._waiting[node].append(done)
            return False
        if self._dialed_here(node) is None:
            return True
        waiting = self._waiting[node] = [done]
        claim = asyncio.create_task(self._claim(node, waiting))
        self._claims.add(claim)
        claim.add_done_callback(self._claims.discard)
        return False

    def left(self, node: str) -> None:
        """Note that a node has no session any more; a claim that is not written yet is given up."""
        self._wanted.discard(node)
        self._dialed.discard(node)
        self._waiting.pop(node, None)
        self._holdings.left(node)

    async def _claim(self, node: str, mine: list[Done]) -> None:
        """Claim a node for those who wait; they are not called once the node has been left."""
        async with self._room:
            try:
                async with asyncio.timeout(_TIMEOUT):
                    reason = await self._acquire(node, mine)
            except (KubeError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                reason = f"the Kubernetes API does not say who holds the node: {why}"
            except Exception:
                log.exception("node %s: cannot claim it", node)
                reason = "internal error, see the log"
        if node not in self._wanted:
            self._holdings.left(node)
        if self._waiting.get(node) is not mine:
            return
        del self._waiting[node]
        for done in mine:
            done(reason)

    async def _acquire(self, node: str, mine: list[Done]) -> str:
        """Write the claim, over again if the Lease has changed; return why that failed."""
        for _ in range(_ATTEMPTS):
            claim = self._dialed_here(node)
            if claim is None or self._waiting.get(node) is not mine:
                return ""
            former = self.other_holder(node)
            if former and node not in self._dialed:
                return f"replica {former} holds the node now"
            try:
                lease = await self._write(node, claim)
            except (Conflict, AlreadyExists, NotFound):
                await self._read(node, claim)
                continue
            if not self._holdings.written(node, read_node_lease(lease)):
                return f"replica {self.other_holder(node)} holds the node now"
            if former:
                TAKEN.inc()
            return ""
        return "other replicas claim the node at the same time"

    def _dialed_here(self, node: str) -> Claim | None:
        return self._holdings.dialed(node, is_sure=not self._watch.is_behind)

    async def _write(self, node: str, claim: Claim) -> Object:
        lease = of_claim(node, claim)
        if claim.version:
            return await self._client.replace(LEASES, lease, self._namespace)
        return await self._client.create(LEASES, lease, self._namespace)

    async def _read(self, node: str, refused: Claim) -> None:
        found: NodeLease | None = None
        with suppress(NotFound):
            lease = await self._client.get(LEASES, name_of(OF_NODE, node), self._namespace)
            found = read_node_lease(lease)
        self._holdings.read(node, found, refused)

    def _seen(self, event: WatchEvent) -> None:
        node = named(OF_NODE, event.object["metadata"]["name"])
        lease = None if event.type == "DELETED" else read_node_lease(event.object)
        if self._holdings.seen(node, lease):
            self._on_lost(node, self._holdings.holder(node))
        elif self._holdings.is_to_be_claimed_anew(node):
            self.claim(node, partial(self._claimed_anew, node))

    def _claimed_anew(self, node: str, reason: str) -> None:
        if reason:
            self._on_lost(node, self._holdings.holder(node))

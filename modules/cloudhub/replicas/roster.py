"""Which replicas there are, and where they answer, by their Leases."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from modules.cloudhub.replicas.lease_watch import LeaseWatch
from modules.cloudhub.replicas.presence import ADDRESS
from modules.common.kube import (
    LEASES,
    BadObject,
    KubeClient,
    KubeError,
    Object,
    WatchEvent,
)
from modules.common.replicas.leases import OF_REPLICA, name_of, named

#: Durations of a Lease without a renewal after which its replica counts as silent, and after which
#: the Lease of a replica that was killed is removed: pods have a new name each time.
_SILENT: Final = 2
_GONE: Final = 40

log = logging.getLogger(__name__)


class Peer(NamedTuple):
    """A replica, as its Lease has it."""

    name: str
    address: str
    """HOST:PORT; empty if it does not say"""
    duration: float
    version: str
    seen: float
    """when this version was first seen, by the monotonic clock"""


def peer_of(lease: Object, seen: float) -> Peer:
    """Return the replica of a Lease; raises BadObject if somebody has made it something else."""
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    address = (metadata.get("annotations") or {}).get(ADDRESS, "")
    duration = spec.get("leaseDurationSeconds")
    if not isinstance(address, str) or not isinstance(duration, int) or duration < 1:
        raise BadObject("spec", "must have leaseDurationSeconds, and the address be a text")
    name = named(OF_REPLICA, metadata["name"])
    return Peer(name, address, duration, metadata["resourceVersion"], seen)


class Roster:
    """The other replicas by name; whether one still renews is told by this host's clock alone."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        watch: LeaseWatch,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._now = now
        self._peers: dict[str, Peer] = {}
        self._watch = watch
        watch.on_replica = self._seen

    def get(self, replica: str) -> Peer | None:
        return self._peers.get(replica)

    def peers(self) -> list[Peer]:
        """Return the other replicas, sorted by name."""
        return [self._peers[name] for name in sorted(self._peers)]

    def silent_for(self, peer: Peer) -> float:
        """Return for how many seconds a replica has not renewed its Lease; 0 if it does."""
        silent = self._now() - peer.seen
        return silent if silent > _SILENT * peer.duration else 0.0

    async def run(self, duration: float) -> None:
        """Look for Leases to remove, once in `duration` seconds, until cancelled."""
        while True:
            await asyncio.sleep(duration)
            for peer in self.peers():
                if self._now() - peer.seen > _GONE * peer.duration and self._watch.is_synced:
                    await self._remove(peer)

    async def _remove(self, peer: Peer) -> None:
        """Remove the Lease of a replica that is gone, unless it has just been renewed."""
        name = name_of(OF_REPLICA, peer.name)
        try:
            await self._client.delete(LEASES, name, self._namespace, version=peer.version)
        except KubeError as error:
            log.debug("cannot remove %s: %s", LEASES.describe(self._namespace, name), error)
        else:
            log.info("replica %s: its Lease is removed, it has not renewed it", peer.name)

    def _seen(self, event: WatchEvent) -> None:
        name = named(OF_REPLICA, event.object["metadata"]["name"])
        if event.type == "DELETED":
            self._peers.pop(name, None)
        else:
            self._peers[name] = self._read(name, event.object)

    def _read(self, name: str, lease: Object) -> Peer:
        peer = peer_of(lease, self._now())
        known = self._peers.get(name)
        return known if known is not None and known.version == peer.version else peer

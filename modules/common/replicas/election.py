"""Leader election by a Lease, as client-go does it (tools/leaderelection).

A candidate takes the Lease when nobody holds it, or when it has seen no renewal for the Lease's
duration by its own clock, so that the clocks of replicas need not agree. The leader stops its work
when it could not renew for the renew deadline, which is shorter than the duration: before another
candidate may take over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple

from modules.common import times
from modules.common.kube import (
    LEASES,
    AlreadyExists,
    Conflict,
    KubeClient,
    KubeError,
    NotFound,
    Object,
)
from modules.common.replicas.leases import OF_LEADER, make, micro_time, name_of
from supervisor.api import ReplicasSettings

#: The share of the Lease's duration after which a leader that cannot renew stops, and that which is
#: waited between two attempts: 10 s and 2 s of 15 s, as in client-go.
_DEADLINE: Final = 2 / 3
_RETRY: Final = 2 / 15
#: The random part of the time between two attempts of a candidate.
_JITTER: Final = 1.2
#: Seconds for giving the Lease back when the module stops.
_RELEASE: Final = 2.0

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]


class _Observed(NamedTuple):
    """The Lease as it was read last, and when it was first read so, by the monotonic clock."""

    lease: Object
    since: float

    @property
    def spec(self) -> Object:
        """The Lease's spec; empty if somebody has made it something else."""
        spec = self.lease.get("spec")
        return spec if isinstance(spec, dict) else {}

    @property
    def holder(self) -> str:
        holder = self.spec.get("holderIdentity")
        return holder if isinstance(holder, str) else ""

    @property
    def version(self) -> str:
        version: str = self.lease["metadata"]["resourceVersion"]
        return version


class Election:
    """One replica's candidacy for the leadership of `what`, such as a module."""

    def __init__(
        self,
        client: KubeClient,
        replicas: ReplicasSettings,
        what: str,
        *,
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up; `on_change` gets the leader, as far as it is known here."""
        self._client = client
        self._namespace = replicas.namespace
        self._replica = replicas.identity
        self._duration = replicas.lease_duration
        self._what = what
        self._on_change = on_change
        self._observed: _Observed | None = None
        self._until = 0.0
        self.leader = ""

    @property
    def leads(self) -> bool:
        """Whether this replica is the leader now; false at once after a stop of the process."""
        return time.monotonic() < self._until

    async def run(self, work: Work) -> None:
        """Do the work whenever this replica leads, until cancelled; raises what the work raises."""
        try:
            while True:
                while not await self._attempt():
                    jitter = 1 + _JITTER * random.random()  # noqa: S311 - spreading, not secrecy
                    await asyncio.sleep(self._retry * jitter)
                log.info("this replica leads: %s", self._what)
                await self._lead(work)
                log.warning("this replica does not lead any more: %s", self._what)
        finally:
            await self._release()

    @property
    def _retry(self) -> float:
        return self._duration * _RETRY

    async def _lead(self, work: Work) -> None:
        """Do the work until it fails, or the Lease cannot be renewed."""
        working = asyncio.create_task(work())
        keeping = asyncio.create_task(self._keep())
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, keeping):
                task.cancel()
            await asyncio.wait((working, keeping))
        for task in (working, keeping):
            if not task.cancelled():
                task.result()

    async def _keep(self) -> None:
        """Renew the Lease, until it is lost."""
        while self.leads:
            await asyncio.sleep(min(self._retry, max(0.0, self._until - time.monotonic())))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until - time.monotonic()):
                    if not await self._attempt() and self.leader not in ("", self._replica):
                        break
        self._until = 0.0

    async def _attempt(self) -> bool:
        """Take or renew the Lease; whether this replica holds it now."""
        began = time.monotonic()
        try:
            held = await self._acquire(began)
        except KubeError as error:
            log.debug("cannot read or write the lease of %s: %s", self._what, error)
            return False
        if held:
            self._until = began + self._duration * _DEADLINE
        return held

    async def _acquire(self, now: float) -> bool:
        if self._observed is None or self._observed.holder != self._replica:
            await self._read(now)
        found = self._observed
        if found and found.holder not in ("", self._replica):
            if now < found.since + self._duration:
                return False
            log.info("replica %s has not renewed the lease of %s", found.holder, self._what)
        try:
            if found is None:
                lease = self._lease("", None)
                written = await self._client.create(LEASES, lease, self._namespace)
            else:
                lease = self._lease(found.version, found.spec)
                written = await self._client.replace(LEASES, lease, self._namespace)
        except (AlreadyExists, Conflict, NotFound):
            self._observed = None  # somebody else was faster, or it was deleted
            return False
        self._observe(written, now)
        return True

    async def _read(self, now: float) -> None:
        name = name_of(OF_LEADER, self._what)
        try:
            found = await self._client.get(LEASES, name, self._namespace)
        except NotFound:
            self._observed = None
        else:
            self._observe(found, now)

    def _observe(self, lease: Object, now: float) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._observed is None or self._observed.version != version:
            self._observed = _Observed(lease, now)
        if self._observed.holder != self.leader:
            self.leader = self._observed.holder
            self._on_change(self.leader)

    def _lease(self, version: str, former: Object | None) -> Object:
        now = micro_time(times.now())
        spec = former or {}
        if spec.get("holderIdentity") != self._replica:
            spec = {"acquireTime": now, "leaseTransitions": _next_transition(former)}
        spec = spec | {
            "holderIdentity": self._replica,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": now,
        }
        return make(OF_LEADER, self._what, spec, version)

    async def _release(self) -> None:
        """Give the Lease back, so that the next leader need not wait for its expiry."""
        if not self.leads:
            return
        self._until = 0.0
        with suppress(KubeError, TimeoutError):
            async with asyncio.timeout(_RELEASE):
                try:
                    await self._give_back()
                except Conflict:  # a renewal was broken off, and has been written
                    await self._read(time.monotonic())
                    await self._give_back()

    async def _give_back(self) -> None:
        found = self._observed
        if found is not None and found.holder == self._replica:
            spec = found.spec | {"holderIdentity": ""}
            lease = make(OF_LEADER, self._what, spec, found.version)
            await self._client.replace(LEASES, lease, self._namespace)


def _next_transition(former: Object | None) -> int:
    """Return the number of a new leader; it begins anew after what is no number."""
    if former is None:
        return 0
    last = former.get("leaseTransitions")
    return last + 1 if isinstance(last, int) else 1

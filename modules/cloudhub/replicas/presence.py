"""The Lease of this replica, which says that it lives and what it is called.

It is renewed each third of its duration; what depends on it are the eyes of operators, and the
guard against two cloudcores of one name.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from modules.common import times
from modules.common.failure_log import FailureLog
from modules.common.kube import (
    LEASES,
    AlreadyExists,
    Conflict,
    KubeClient,
    KubeError,
    NotFound,
    Object,
)
from modules.common.replicas.leases import OF_REPLICA, make, micro_time, name_of
from supervisor.api import TemporaryFailure

#: Renewals in the duration of the Lease.
_RENEWALS: Final = 3
#: Seconds for removing the Lease when the module stops.
_REMOVAL: Final = 2.0

#: Says which start of CloudHub has written a Lease.
_INSTANCE: Final = "cloudcore.kubeedge.io/instance"
#: How many nodes a replica holds, for `kubectl describe lease`.
_NODES: Final = "cloudcore.kubeedge.io/nodes"
#: Where a replica answers the others, as HOST:PORT.
ADDRESS: Final = "cloudcore.kubeedge.io/address"

log = logging.getLogger(__name__)


class Presence:
    """Keeps the Lease of this replica."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        replica: str,
        *,
        duration: float,
        address: str,
        nodes: Callable[[], int],
        on_renewed: Callable[[Object], None],
    ) -> None:
        """Set up; `nodes` returns the number of nodes held, which the Lease shows.

        `address` is where this replica answers others, as HOST:PORT. `on_renewed` gets the Lease
        whenever it has been written.
        """
        self._client = client
        self._namespace = namespace
        self._replica = replica
        self._duration = duration
        self._address = address
        self._nodes = nodes
        self._on_renewed = on_renewed
        self.renewed = 0.0
        """when the Lease was written last, in seconds since the epoch; 0: not yet"""
        self._instance = uuid.uuid4().hex
        self._lease: Object | None = None
        self._failures = FailureLog(log)

    async def run(self) -> None:
        """Renew until cancelled, then remove the Lease.

        Raises TemporaryFailure if another cloudcore has this one's name.
        """
        try:
            while True:
                await self._renew()
                await asyncio.sleep(self._duration / _RENEWALS)
        finally:
            await self._remove()

    async def _renew(self) -> None:
        name = name_of(OF_REPLICA, self._replica)
        try:
            if self._lease is None:
                lease = await self._begin(name)
            else:
                made = self._made(self._lease["metadata"]["resourceVersion"])
                lease = await self._client.replace(LEASES, made, self._namespace)
        except (AlreadyExists, Conflict, NotFound):
            await self._check(name)
        except KubeError as error:
            if not error.outage:
                text = f"cannot write {LEASES.describe(self._namespace, name)}: {error}"
                self._failures.failed("", str(error), f"{text}; {error.hint}")
        else:
            self._lease, self.renewed = lease, time.time()
            self._on_renewed(lease)
            self._failures.worked("", f"{LEASES.describe(self._namespace, name)} is written again")

    async def _begin(self, name: str) -> Object:
        """Take the Lease over from an earlier start, or create it."""
        try:
            found = await self._client.get(LEASES, name, self._namespace)
        except NotFound:
            return await self._client.create(LEASES, self._made(), self._namespace)
        made = self._made(found["metadata"]["resourceVersion"])
        return await self._client.replace(LEASES, made, self._namespace)

    async def _check(self, name: str) -> None:
        """See who else has written the Lease; begin again if nobody has."""
        had, self._lease = self._lease, None
        try:
            found = await self._client.get(LEASES, name, self._namespace)
        except KubeError:
            return  # the next renewal begins anew
        theirs = (found["metadata"].get("annotations") or {}).get(_INSTANCE)
        if had is not None and theirs != self._instance:
            raise TemporaryFailure(
                f"another cloudcore has the name {self._replica!r} too: it has written "
                f"{LEASES.describe(self._namespace, name)}; give each its own replicas.name"
            )
        self._lease = found

    def _made(self, version: str = "") -> Object:
        spec = {
            "holderIdentity": self._replica,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": micro_time(times.now()),
        }
        lease = make(OF_REPLICA, self._replica, spec, version)
        annotations = {
            _INSTANCE: self._instance,
            _NODES: str(self._nodes()),
            ADDRESS: self._address,
        }
        lease["metadata"]["annotations"] = annotations
        return lease

    async def _remove(self) -> None:
        """Remove the Lease, unless another cloudcore has written it."""
        if self._lease is None:
            return
        metadata = self._lease["metadata"]
        with suppress(KubeError, TimeoutError):
            async with asyncio.timeout(_REMOVAL):
                await self._client.delete(
                    LEASES, metadata["name"], self._namespace, version=metadata["resourceVersion"]
                )

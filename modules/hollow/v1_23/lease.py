"""The Lease of a node, whose renewals keep it Ready.

After k8s.io/component-helpers/apimachinery/lease/controller.go.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from modules.common.times import format_time, now
from modules.hollow.events import Emit, RepeatedFailures
from modules.hollow.timing import Timing
from modules.hollow.v1_23.backoff import Backoff
from modules.hollow.v1_23.client import LEASES, ApiError, Client
from modules.hollow.v1_23.metamanager import RequestError

#: Seconds that the Lease is valid, as every kubelet's.
DURATION: Final = 40
_UPDATE_RETRIES: Final = 5
_LONGEST_BACKOFF: Final = 7.0

Json = dict[str, Any]


class LeaseController:
    """Keeps one node's Lease; `latest` is what the API has answered last."""

    def __init__(self, node: str, client: Client, emit: Emit, timing: Timing) -> None:
        self.latest: Json | None = None
        self.renewals = 0
        self._node = node
        self._client = client
        self._emit = emit
        self._failures = RepeatedFailures(emit, "no lease")
        self._timing = timing

    async def run(self) -> None:
        while True:
            await self._sync()
            await asyncio.sleep(self._timing.lease)

    async def _sync(self) -> None:
        if self.latest is not None and await self._update(self.latest):
            return
        self.latest, created = await self._ensure_with_backoff()
        if self.latest is not None and not created:
            await self._update(self.latest)

    async def _ensure_with_backoff(self) -> tuple[Json | None, bool]:
        backoff = Backoff(self._timing.register, _LONGEST_BACKOFF)
        while True:
            try:
                return await self._ensure()
            except RequestError as error:
                self._failed(error)
            await backoff.sleep()

    async def _ensure(self) -> tuple[Json | None, bool]:
        """Return the Lease, and whether it was created just now; None if the Node is not known."""
        try:
            return await self._client.lease(), False
        except ApiError as error:
            if error.reason != "NotFound":
                raise
        try:
            wanted = await self._renewed(None)
        except RequestError:
            return None, False  # the node is not registered yet: created at the next renewal
        created = await self._client.create_lease(wanted)
        self._emit("lease", self._node, "created")
        return created, True

    async def _update(self, base: Json) -> bool:
        """Renew the Lease; whether one of five attempts succeeded."""
        for _ in range(_UPDATE_RETRIES):
            try:
                self.latest = await self._client.update_lease(await self._renewed(base))
            except ApiError as error:
                self._failed(error)
                if error.reason == "Conflict":
                    found, _ = await self._ensure_with_backoff()
                    base = found or base
            except RequestError as error:
                self._failed(error)
            else:
                self.renewals += 1
                if self._failures.worked(self._node):
                    self._emit("lease", self._node, "renewed again")
                return True
        return False

    def _failed(self, error: RequestError) -> None:
        reason = error.reason if isinstance(error, ApiError) else type(error).__name__
        self._failures.failed(self._node, str(error), reason)

    async def _renewed(self, base: Json | None) -> Json:
        lease = base or {
            "metadata": {"name": self._node, "namespace": LEASES},
            "spec": {"holderIdentity": self._node, "leaseDurationSeconds": DURATION},
        }
        metadata = lease["metadata"]
        if not metadata.get("ownerReferences"):
            metadata = metadata | {"ownerReferences": [await self._owner()]}
        spec = lease["spec"] | {"renewTime": format_time(now(), "microseconds")}
        return lease | {"metadata": metadata, "spec": spec}

    async def _owner(self) -> Json:
        node = await self._client.node()
        uid = node.get("metadata", {}).get("uid", "")
        return {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": uid}

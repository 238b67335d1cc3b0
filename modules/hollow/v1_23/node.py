"""The Node of an edge: its registration, and the patches of its status.

After kubelet (pkg/kubelet/kubelet_node_status.go): an unchanged status is patched every 5 minutes
only, since it is the Lease that tells that the node lives.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from modules.hollow.events import Emit, RepeatedFailures
from modules.hollow.timing import Timing
from modules.hollow.v1_23 import status
from modules.hollow.v1_23.backoff import Backoff
from modules.hollow.v1_23.client import ApiError, Client
from modules.hollow.v1_23.metamanager import RequestError
from modules.hollow.v1_23.strategic import difference
from modules.hollow.v1_23.volumes import Volumes
from modules.hollow.versions import Version

_LONGEST_BACKOFF: Final = 7.0
_IN_USE: Final = "volumesInUse"

Json = dict[str, Any]


class NodeReporter:
    """Registers one node and reports its status. `pressures` names the pressures it is under."""

    def __init__(
        self,
        node: str,
        version: Version,
        client: Client,
        emit: Emit,
        timing: Timing,
        *,
        volumes: Volumes,
    ) -> None:
        self._volumes = volumes
        self.pressures: tuple[str, ...] = ()
        self.registered = False
        self._node = node
        self._version = version
        self._client = client
        self._emit = emit
        self._unregistered = RepeatedFailures(emit, "not registered")
        self._unreported = RepeatedFailures(emit, "not reported")
        self._timing = timing
        self._reported_at: float | None = None

    async def run(self) -> None:
        backoff = Backoff(self._timing.register, _LONGEST_BACKOFF)
        await backoff.sleep()
        while not await self._register():
            await backoff.sleep()
        self.registered = True
        self._emit("registered", self._client.node_key, "")
        while True:
            await self._report()
            await asyncio.sleep(self._timing.node_status)

    async def _register(self) -> bool:
        """Create the Node; if it is there, read it. Whether the edge has its Node."""
        wanted = status.initial_node(self._node, self._version)
        try:
            await self._client.create_node(wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._unregistered.failed(self._client.node_key, str(error))
                return False
            return await self._adopt(wanted)
        except RequestError as error:
            self._unregistered.failed(self._client.node_key, str(error))
            return False
        return True

    async def _adopt(self, wanted: Json) -> bool:
        """Take the Node that is there, and give it the labels that it lacks."""
        try:
            node = await self._client.node()
            labels = node["metadata"].get("labels") or {}
            if missing := difference(labels, labels | wanted["metadata"]["labels"]):
                await self._client.patch_node({"metadata": {"labels": missing}})
        except RequestError as error:
            self._unregistered.failed(self._client.node_key, str(error))
            return False
        return True

    async def _report(self) -> None:
        """Patch the status if it changed, or was last patched long ago."""
        try:
            node = await self._client.node()
            before = node.get("status") or {}
            after = {key: before[key] for key in before if key != _IN_USE} | {
                "conditions": status.node_conditions(
                    before.get("conditions") or [], self.pressures, ready=True
                )
            }
            if in_use := self._volumes.in_use:
                after[_IN_USE] = in_use
            if not (_changed(before, after) or self._is_due()):
                return
            await self._client.patch_node(difference({"status": before}, {"status": after}))
        except RequestError as error:
            self._unreported.failed(self._client.node_key, str(error))
            return
        self._unreported.worked(self._client.node_key)
        if self._reported_at is None:
            self._emit("ready", self._client.node_key, "")
        self._reported_at = time.monotonic()

    def _is_due(self) -> bool:
        if self._reported_at is None:
            return True
        return time.monotonic() - self._reported_at >= self._timing.node_report


def _changed(before: Json, after: Json) -> bool:
    return _states(before) != _states(after) or before.get(_IN_USE) != after.get(_IN_USE)


def _states(node_status: Json) -> list[Json]:
    """Return the conditions without the times of their heartbeats."""
    conditions = node_status.get("conditions") or []
    return [
        {key: value for key, value in each.items() if key != "lastHeartbeatTime"}
        for each in conditions
    ]

"""Reports the statuses of pods, and deletes pods that have terminated.

After kubelet (pkg/kubelet/status/status_manager.go): one report at a time for the whole node. What
failed is tried again every 10 s.
"""

from __future__ import annotations

import asyncio
from typing import Any

from modules.hollow.events import Emit, RepeatedFailures
from modules.hollow.timing import Timing
from modules.hollow.v1_23 import status
from modules.hollow.v1_23.client import Client
from modules.hollow.v1_23.metamanager import RequestError
from modules.hollow.v1_23.strategic import difference

Json = dict[str, Any]


class StatusManager:
    """Brings the pods of one node in the API to the wanted statuses; `statuses` is by key."""

    def __init__(self, client: Client, emit: Emit, timing: Timing) -> None:
        self.statuses: dict[str, Json] = {}
        self._uids: dict[str, str] = {}
        self._due: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._client = client
        self._emit = emit
        self._unreported = RepeatedFailures(emit, "not reported")
        self._timing = timing

    def set(self, key: str, uid: str, wanted: Json) -> None:
        before = self.statuses.get(key)
        self.statuses[key] = wanted
        self._uids[key] = uid
        if before is None or before["phase"] != wanted["phase"]:
            self._emit("pod", key, wanted["phase"])
        self._due[key] = None
        self._woken.set()

    def forget(self, key: str) -> None:
        """Forget a pod that is gone."""
        self._uids.pop(key, None)
        self._due.pop(key, None)
        self._unreported.worked(key)
        if self.statuses.pop(key, None) is not None:
            self._emit("pod", key, "removed")

    def sync_all(self) -> None:
        self._due |= dict.fromkeys(self._uids)
        self._woken.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._timing.pod_sync):
                    await self._woken.wait()
            except TimeoutError:
                self.sync_all()
            self._woken.clear()
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                await self._sync(key)

    async def _sync(self, key: str) -> None:
        uid, wanted = self._uids.get(key), self.statuses[key]
        pod = self._client.pod(key)
        if uid is None or pod is None or pod["metadata"].get("uid") != uid:
            return
        before = pod.get("status") or {}
        try:
            if patch := difference(before, status.merged(before, wanted)):
                pod = await self._client.patch_pod(key, {"metadata": {"uid": uid}, "status": patch})
            if _has_ended(pod, wanted):
                await self._client.delete_pod(key, uid)
                if self._uids.get(key) == uid:  # not another pod of that name
                    del self._uids[key]  # the push that it is deleted follows
        except RequestError as error:
            self._unreported.failed(key, str(error))
        else:
            self._unreported.worked(key)


def _has_ended(pod: Json, wanted: Json) -> bool:
    terminated = wanted["phase"] in {"Succeeded", "Failed"}
    return terminated and bool(pod["metadata"].get("deletionTimestamp"))

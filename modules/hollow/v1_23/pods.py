"""The lives of pods on an edge, without containers.

A pod's containers wait until all that the pod refers to is there, run until the pod is deleted, and
end at once then (kubelet's pod workers).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, Final

from modules.common.times import format_now
from modules.hollow.events import Emit
from modules.hollow.timing import Timing
from modules.hollow.v1_23 import status
from modules.hollow.v1_23.backoff import Backoff
from modules.hollow.v1_23.metamanager import RequestError
from modules.hollow.v1_23.recorder import Recorder
from modules.hollow.v1_23.status_manager import StatusManager
from modules.hollow.v1_23.volumes import Volumes

_LONGEST_BACKOFF: Final = 122.0  # exponentialbackoff of volume operations
#: Seconds between two looks at the tokens of a pod that runs.
_REFRESH: Final = 60.0

Json = dict[str, Any]


class PodWorker:
    """The life of one pod; ends with the pod's last status."""

    def __init__(
        self,
        key: str,
        pod: Json,
        node: str,
        *,
        volumes: Volumes,
        statuses: StatusManager,
        recorder: Recorder,
        emit: Emit,
        timing: Timing,
    ) -> None:
        self.uid = pod["metadata"]["uid"]
        self._key = key
        self._pod = pod
        self._node = node
        self._volumes = volumes
        self._statuses = statuses
        self._recorder = recorder
        self._emit = emit
        self._timing = timing
        self._since = (pod.get("status") or {}).get("startTime") or format_now()
        self._started = _running_since(pod)
        self._changed = asyncio.Event()
        self._life: asyncio.Timeout | None = None

    def update(self, pod: Json) -> None:
        self._pod = pod
        self._changed.set()
        if self._is_deleted and self._life is not None:
            self._life.reschedule(0)
            self._life = None  # a further update cannot end it again

    async def run(self) -> None:
        try:
            if not self._is_deleted:
                async with asyncio.timeout(None) as self._life:  # until it is deleted
                    await self._live()
        except TimeoutError:
            self._recorder.event(self._pod, "Normal", "Killing", "Stopping container")
        finally:
            self._volumes.unmount(self._pod)
        started = self._started or format_now()
        self._report(status.terminated(self._pod, self._since, started, self._node))

    @property
    def _is_deleted(self) -> bool:
        return bool(self._pod["metadata"].get("deletionTimestamp"))

    async def _live(self) -> None:
        """Start when all that the pod refers to is there, and run."""
        if not self._started:
            self._report(status.waiting(self._pod, self._since, self._node))
        backoff = Backoff(self._timing.mount, _LONGEST_BACKOFF)
        while not await self._done(self._volumes.mount(self._pod)):
            await self._pause(backoff.next())
        if not self._started:
            await asyncio.sleep(self._timing.start)
            self._started = format_now()
            self._recorder.event(self._pod, "Normal", "Started", "Started container")
        while True:
            running = status.running(self._pod, self._since, self._started, self._node)
            self._report(running)
            await self._pause(_REFRESH)
            await self._done(self._volumes.refresh(self._pod))

    async def _done(self, work: Awaitable[None]) -> bool:
        """Whether the work succeeded; the error is told."""
        try:
            await work
        except RequestError as error:
            self._emit("pod waits", self._key, str(error))
            self._recorder.event(self._pod, "Warning", "FailedMount", str(error))
            return False
        return True

    async def _pause(self, seconds: float) -> None:
        """Wait until the pod changes, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    def _report(self, wanted: Json) -> None:
        if self._statuses.statuses.get(self._key) != wanted:
            self._statuses.set(self._key, self.uid, wanted)


def _running_since(pod: Json) -> str:
    """Return when the pod's containers started: they go on when edgecore is restarted."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if running := (container.get("state") or {}).get("running"):
            return str(running.get("startedAt") or "")
    return ""

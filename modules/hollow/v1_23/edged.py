"""The edged of an edge, a kubelet without containers (edge/pkg/edged)."""

from __future__ import annotations

import asyncio
from typing import Any

from modules.hollow.events import Emit
from modules.hollow.store import split
from modules.hollow.timing import Timing
from modules.hollow.v1_23.client import Client
from modules.hollow.v1_23.lease import LeaseController
from modules.hollow.v1_23.metamanager import MetaManager
from modules.hollow.v1_23.node import NodeReporter
from modules.hollow.v1_23.pods import PodWorker
from modules.hollow.v1_23.recorder import Recorder
from modules.hollow.v1_23.status_manager import StatusManager
from modules.hollow.v1_23.volumes import Volumes
from modules.hollow.versions import Version

Json = dict[str, Any]


class Edged:
    """The node and the pods of one edge."""

    def __init__(
        self,
        node: str,
        version: Version,
        meta: MetaManager,
        emit: Emit,
        timing: Timing,
        *,
        report_events: bool,
    ) -> None:
        self._node_name = node
        self._meta = meta
        self._emit = emit
        self._timing = timing
        client = Client(node, version, meta, emit)
        self._volumes = Volumes(node, client)
        self.node = NodeReporter(node, version, client, emit, timing, volumes=self._volumes)
        self.lease = LeaseController(node, client, emit, timing)
        self._manager = StatusManager(client, emit, timing)
        self._recorder = Recorder(node, client, enabled=report_events)
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._once_connected = asyncio.Event()
        meta.subscribe(self._pushed)

    @property
    def statuses(self) -> dict[str, Json]:
        """The status of each pod, as kubelet wants it, by the pod's key."""
        return self._manager.statuses

    async def run(self) -> None:
        """Run until cancelled; pods that are stored from before run again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._manager.run())
            self._tasks = tasks
            try:
                for key, value in list(self._meta.store.objects.items()):
                    if split(key)[1] == "pod" and isinstance(value, dict):
                        self._pushed("insert", key, value)
                await self._once_connected.wait()
                tasks.create_task(self.node.run())
                tasks.create_task(self.lease.run())
                await asyncio.Event().wait()  # cancelled with all that runs
            finally:
                self._tasks = None

    def connected(self) -> None:
        """Register at the first connection."""
        if not self._once_connected.is_set():
            self._once_connected.set()
            self._recorder.event(None, "Normal", "Starting", "Starting kubelet.")

    def report_all(self) -> None:
        """Compare the statuses of all pods with the API's now, and not in the next 10 s."""
        self._manager.sync_all()

    def stop(self) -> None:
        """Do nothing: all that runs ends with `run`."""

    def _pushed(self, operation: str, key: str, pod: Json) -> None:
        if operation == "delete":
            self._remove(key)
        elif not _is_pod_of(pod, self._node_name):
            self._emit("ignored", key, f"no pod of {self._node_name}")
        else:
            self._update(key, pod)

    def _update(self, key: str, pod: Json) -> None:
        if key in self._workers:
            worker, _ = self._workers[key]
            if worker.uid == pod["metadata"]["uid"]:
                worker.update(pod)
                return
            self._remove(key)
        if self._tasks is None:  # it stops: the pod is stored, and runs when it is started again
            return
        worker = PodWorker(
            key,
            pod,
            self._node_name,
            volumes=self._volumes,
            statuses=self._manager,
            recorder=self._recorder,
            emit=self._emit,
            timing=self._timing,
        )
        self._workers[key] = worker, self._tasks.create_task(worker.run())

    def _remove(self, key: str) -> None:
        if key in self._workers:
            _, task = self._workers.pop(key)
            task.cancel()
        self._manager.forget(key)


def _is_pod_of(pod: Json, node: str) -> bool:
    metadata, spec = pod.get("metadata"), pod.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        return False
    return spec.get("nodeName") == node and bool(metadata.get("uid"))

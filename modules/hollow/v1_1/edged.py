"""The edged of an edge, without containers: pods "run" once the objects they refer to are stored.

After edge/pkg/edged: the node's status is reported periodically, a pod's when it changes, and
those of all pods once a minute (metaManager's sync).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ipc import Message
from modules.common.times import format_now
from modules.hollow.events import Emit
from modules.hollow.references import references
from modules.hollow.store import split
from modules.hollow.timing import Timing
from modules.hollow.v1_1 import status
from modules.hollow.v1_1.metamanager import MetaManager

NAMESPACE = "default"  # edged.register-node-namespace


class Edged:
    """Simulates the pods of one edge; `statuses` maps a pod's key -> its status."""

    def __init__(
        self,
        node: str,
        meta: MetaManager,
        send: Callable[[Message], None],
        emit: Emit,
        timing: Timing,
    ) -> None:
        self.statuses: dict[str, dict[str, Any]] = {}
        self._node = node
        self._meta = meta
        self._send = send
        self._emit = emit
        self._timing = timing
        self._ready_since = format_now()
        self._started: dict[str, str] = {}  # uid of a pod -> when its containers started
        self._unreported: set[str] = set()
        self._report_timer: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._connected_before = False
        meta.subscribe(self._object_changed)

    async def run(self) -> None:
        """Run the pods that the store has from before the edge's start."""
        for key in [key for key in self._meta.store.objects if split(key)[1] == "pod"]:
            self._sync(key)

    def connected(self) -> None:
        """Start the periodic reports, at the first connection."""
        if self._connected_before:
            return
        self._connected_before = True
        self._every(0, self._timing.node_status, self._node_tick)
        self._every(1, self._timing.meta_sync, self.report_all_pods)
        self._node_tick()

    def stop(self) -> None:
        for timer in (*self._timers, self._report_timer):
            if timer is not None:
                timer.cancel()

    def report_node(self) -> None:
        """Send the node's status, as `{namespace}/nodestatus/{node}`."""
        content = status.node_status_request(self._node, self._ready_since)
        self._update(f"{NAMESPACE}/nodestatus/{self._node}", content)

    def report_all_pods(self) -> None:
        """Send the status of all pods, one list for each namespace."""
        by_namespace: dict[str, list[Any]] = {}
        for key, pod_status in self.statuses.items():
            request = status.pod_status_request(self._meta.store.objects[key], pod_status)
            by_namespace.setdefault(key.partition("/")[0], []).append(request)
        for namespace, requests in by_namespace.items():
            resource = f"{namespace}/podstatus"
            self._send(Message.build("metaManager", "resource", "update", resource, requests))

    def _every(self, slot: int, period: float, action: Callable[[], None]) -> None:
        def tick() -> None:
            self._timers[slot] = loop.call_later(period, tick)
            action()

        loop = asyncio.get_running_loop()
        self._timers.insert(slot, loop.call_later(period, tick))

    def _node_tick(self) -> None:
        self.report_node()
        for key, pod_status in list(self.statuses.items()):
            if pod_status["phase"] == "Pending":
                self._sync(key)

    def _object_changed(self, operation: str, key: str, value: dict[str, Any]) -> None:
        kind = key.split("/")[1]
        if kind == "pod":
            if operation == "delete":
                self._forget(key, value)
            else:
                self._sync(key)
        elif kind in {"configmap", "secret"}:
            for pod, pod_status in list(self.statuses.items()):
                if pod_status["phase"] == "Pending":
                    self._sync(pod)

    def _sync(self, key: str) -> None:
        """Compute a pod's status, and schedule a report if it has changed."""
        pod = self._meta.store.objects[key]
        before = self.statuses.get(key)
        after = self._status_of(pod, before)
        if after == before:
            return
        self.statuses[key] = after
        if before is None or before["phase"] != after["phase"]:
            self._emit("pod", key, after["phase"])
        self._unreported.add(key)
        if self._report_timer is None:
            loop = asyncio.get_running_loop()
            self._report_timer = loop.call_later(self._timing.pod_status, self._report_pods)

    def _status_of(self, pod: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
        uid = pod["metadata"].get("uid", "")
        if pod["metadata"].get("deletionTimestamp"):
            if before and before["phase"] == "Succeeded":
                return before
            return status.terminated(pod, self._started.get(uid, format_now()), format_now())
        missing = [key for key in references(pod) if key not in self._meta.store.objects]
        for key in missing:
            self._meta.query(key)
        if missing and uid not in self._started:
            return status.waiting(pod, missing)
        return status.running(pod, self._started.setdefault(uid, format_now()), self._node)

    def _report_pods(self) -> None:
        self._report_timer = None
        for key in self._unreported & self.statuses.keys():
            content = status.pod_status_request(self._meta.store.objects[key], self.statuses[key])
            namespace, _, name = key.split("/", 2)
            self._update(f"{namespace}/podstatus/{name}", content)
        self._unreported.clear()

    def _forget(self, key: str, pod: dict[str, Any]) -> None:
        self._started.pop(pod.get("metadata", {}).get("uid", ""), None)
        if self.statuses.pop(key, None) is not None:
            self._emit("pod", key, "removed")

    def _update(self, resource: str, content: dict[str, Any]) -> None:
        self._send(Message.build("edged", "meta", "update", resource, content))

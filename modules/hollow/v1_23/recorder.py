"""The Events of an edge, which it sends only if it is told to (edged.reportEvent)."""

from __future__ import annotations

import time
from typing import Any

from modules.common.times import format_now
from modules.hollow.v1_23.client import Client

Json = dict[str, Any]


class Recorder:
    """Sends the Events of one node, unless `enabled` is False."""

    def __init__(self, node: str, client: Client, *, enabled: bool) -> None:
        self._node = node
        self._client = client
        self._enabled = enabled

    def event(self, pod: Json | None, kind: str, reason: str, message: str) -> None:
        """Send an Event about a pod, or about the node if there is no pod."""
        if not self._enabled:
            return
        now = format_now()
        about = self._reference(pod)
        namespace = about.get("namespace", "default")
        name = f"{about['name']}.{time.time_ns():x}"
        self._client.report(
            {
                "metadata": {"name": name, "namespace": namespace, "creationTimestamp": None},
                "involvedObject": about,
                "reason": reason,
                "message": message,
                "source": {"component": "kubelet", "host": self._node},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "type": kind,
                "eventTime": None,
                "reportingComponent": "kubelet",
                "reportingInstance": self._node,
            }
        )

    def _reference(self, pod: Json | None) -> Json:
        if pod is None:
            return {"kind": "Node", "name": self._node, "uid": self._node}
        metadata = pod["metadata"]
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }

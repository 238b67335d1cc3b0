"""The pods of one edge."""

from __future__ import annotations

from typing import Any

from modules.common.kube import PODS
from modules.dashboard.sources.cluster import Cluster
from modules.dashboard.sources.fields import seconds


async def pods_of(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """Return the pods that are bound to a node; raises KubeError."""
    pods = await cluster.list(PODS, field_selector=f"spec.nodeName={node}")
    return [_row(pod) for pod in pods if isinstance(pod, dict)]


def _row(pod: dict[str, Any]) -> dict[str, Any]:
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    wanted = (pod.get("spec") or {}).get("containers") or []
    phase = "Terminating" if metadata.get("deletionTimestamp") else status.get("phase")
    return {
        "namespace": str(metadata.get("namespace", "")),
        "name": str(metadata.get("name", "")),
        "phase": str(phase or "Pending"),
        "ready": f"{sum(bool(each.get('ready')) for each in containers)}/{len(wanted)}",
        "restarts": sum(int(each.get("restartCount") or 0) for each in containers),
        "why": _why(status, containers),
        "created": seconds(metadata.get("creationTimestamp")),
    }


def _why(status: dict[str, Any], containers: list[dict[str, Any]]) -> str:
    """Return why a pod does not run, as its edge or the scheduler says."""
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason"):
            return str(waiting.get("message") or waiting["reason"])
    return str(status.get("message") or status.get("reason") or "")

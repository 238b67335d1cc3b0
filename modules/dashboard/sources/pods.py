"""The pods of one edge."""

from __future__ import annotations

from typing import Any

from modules.common.kube import PODS
from modules.dashboard.sources.cluster import Cluster
from modules.dashboard.sources.fields import mapping, mappings, seconds


async def pods_of(cluster: Cluster, node: str) -> list[dict[str, Any]]:
    """Return the pods that are bound to a node; raises KubeError."""
    pods = await cluster.list(PODS, field_selector=f"spec.nodeName={node}")
    return [_row(pod) for pod in pods if isinstance(pod, dict)]


def _row(pod: dict[str, Any]) -> dict[str, Any]:
    metadata, status = mapping(pod, "metadata"), mapping(pod, "status")
    containers = mappings(status, "containerStatuses")
    wanted = mappings(mapping(pod, "spec"), "containers")
    restarts = [each.get("restartCount") for each in containers]
    phase = "Terminating" if metadata.get("deletionTimestamp") else status.get("phase")
    return {
        "namespace": str(metadata.get("namespace", "")),
        "name": str(metadata.get("name", "")),
        "phase": str(phase or "Pending"),
        "ready": f"{sum(bool(each.get('ready')) for each in containers)}/{len(wanted)}",
        "restarts": sum(count for count in restarts if isinstance(count, int)),
        "why": _why(status, containers),
        "created": seconds(metadata.get("creationTimestamp")),
    }


def _why(status: dict[str, Any], containers: list[dict[str, Any]]) -> str:
    """Return why a pod does not run, as its edge or the scheduler says."""
    for container in containers:
        waiting = mapping(mapping(container, "state"), "waiting")
        if waiting.get("reason"):
            return str(waiting.get("message") or waiting["reason"])
    return str(status.get("message") or status.get("reason") or "")

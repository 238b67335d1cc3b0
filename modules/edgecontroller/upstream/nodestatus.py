"""Node status: one PATCH per report, where KubeEdge reads the node and writes it back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from modules.common import times
from modules.common.kube import Object
from modules.edgecontroller.upstream.content import NodeStatusRequest

#: KubeEdge's annotation for NVIDIA GPUs, besides one of the resource's name (constants/service.go).
GPU_ANNOTATION: Final = "huawei.com/gpu-status"
GPU_RESOURCE: Final = "nvidia.com/gpu"

_TIMES: Final = ("lastHeartbeatTime", "lastTransitionTime")

#: Maps that the edge sets as a whole: entries it no longer has are removed.
_WHOLE_MAPS: Final = ("capacity", "allocatable")

#: Owned by kube-controller-manager.
_NOT_THE_EDGES: Final = "volumesAttached"


def status_patch(
    request: NodeStatusRequest, node: Object | None, now: datetime, update_frequency: float
) -> Object:
    """Return the strategic merge patch that writes an edge's status of a node.

    Conditions are merged by type, so those of others (a network plugin) are kept; addresses,
    capacity and allocatable are replaced. `node` is the cached object, and `update_frequency` is in
    seconds.
    """
    before = (node or {}).get("status") or {}
    status = {key: value for key, value in request.status.items() if key != _NOT_THE_EDGES}
    if status.get("conditions"):
        status["conditions"] = [
            _refreshed(condition, now, update_frequency) for condition in status["conditions"]
        ]
    if status.get("addresses") and before.get("addresses"):
        # Only if the node has addresses: in a new list the directive would become an item.
        status["addresses"] = [{"$patch": "replace"}, *status["addresses"]]
    for name in _WHOLE_MAPS:
        if status.get(name):
            status[name] = {**dict.fromkeys(before.get(name) or ()), **status[name]}
    patch: Object = {"status": status}
    annotations = extended_resources(request.extend_resources)
    if annotations:
        patch["metadata"] = {"annotations": annotations}
    return patch


def extended_resources(resources: dict[str, Any] | None) -> dict[str, str]:
    """Return annotations of extended resources: JSON under the name of each."""
    annotations: dict[str, str] = {}
    for name, devices in (resources or {}).items():
        annotations[name] = _json(devices)
        if name == GPU_RESOURCE and devices:
            gpus = [{"id": device.get("name", ""), "healthy": True} for device in devices]
            annotations[GPU_ANNOTATION] = _json(gpus)
    return annotations


def _refreshed(condition: Object, now: datetime, update_frequency: float) -> Object:
    """Replace times that are older than the update frequency (upstream.go, updateNodeStatus).

    An edge that was cut off sends what it stored then, and would count as not ready.
    """
    return {
        **condition,
        **{name: _recent(condition.get(name), now, update_frequency) for name in _TIMES},
    }


def _recent(text: str | None, now: datetime, update_frequency: float) -> str:
    time = times.parse_time(text)
    if time is None or (now - time).total_seconds() > update_frequency:
        time = now
    return times.format_time(time)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()

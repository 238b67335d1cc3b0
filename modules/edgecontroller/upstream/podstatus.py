"""Pod status: from the edge's form to the API server's (upstream.go, updatePodStatus)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from modules.common import times
from modules.common.kube import Object

#: The conditions that the edge sets without a transition time.
_EDGE_CONDITIONS: Final = ("Ready", "Initialized")

_TERMINAL_PHASES: Final = ("Succeeded", "Failed")

#: Fields that are removed when the edge no longer has them.
_CLEARED: Final = ("message", "reason")


def status_patch(pod: Object, reported: Object, now: datetime) -> Object:
    """Return the strategic merge patch that writes an edge's status of a pod.

    The start time and the transition times of unchanged conditions are kept, times are normalized,
    and containers are sorted. Conditions of others are kept.
    """
    before = pod.get("status") or {}
    status: Object = {**dict.fromkeys(_CLEARED), **reported}
    status["startTime"] = (
        before.get("startTime")
        or times.normalize_time(reported.get("startTime"))
        or times.format_time(now)
    )
    if reported.get("conditions"):
        status["conditions"] = _conditions(before, reported["conditions"], now)
    if reported.get("containerStatuses"):
        containers = map(_container, reported["containerStatuses"])
        status["containerStatuses"] = sorted(containers, key=_name_of)
    if reported.get("initContainerStatuses"):
        order = _positions(pod["spec"].get("initContainers") or ())
        status["initContainerStatuses"] = sorted(
            map(_container, reported["initContainerStatuses"]),
            key=lambda container: order.get(_name_of(container), len(order)),
        )
    return {"status": status}


def is_reported(pod: Object) -> bool:
    """Whether an edge has reported a status of a pod: edges of all versions set the start time."""
    return bool((pod.get("status") or {}).get("startTime"))


def deletion_complete(pod: Object) -> bool:
    """Whether a pod that is being deleted has terminated on its node.

    As in KubeEdge, when its phase is final and no container runs; in addition, when all of its
    containers have terminated, whatever the phase is.
    """
    if not pod["metadata"].get("deletionTimestamp"):
        return False
    status = pod.get("status") or {}
    states = [container.get("state") or {} for container in status.get("containerStatuses") or ()]
    if status.get("phase") in _TERMINAL_PHASES:
        return all("terminated" in state or "waiting" in state for state in states)
    return bool(states) and all("terminated" in state for state in states)


def _conditions(before: Object, reported: list[Object], now: datetime) -> list[Object]:
    known = {condition.get("type"): condition for condition in before.get("conditions") or ()}
    return [_condition(known.get(condition.get("type")), condition, now) for condition in reported]


def _condition(before: Object | None, reported: Object, now: datetime) -> Object:
    condition = {
        **reported,
        "lastProbeTime": times.normalize_time(reported.get("lastProbeTime")),
        "lastTransitionTime": times.normalize_time(reported.get("lastTransitionTime")),
    }
    if condition.get("type") in _EDGE_CONDITIONS:
        unchanged = before is not None and before.get("status") == condition.get("status")
        since = before.get("lastTransitionTime") if before and unchanged else None
        condition["lastTransitionTime"] = since or times.format_time(now)
    return condition


def _container(container: Object) -> Object:
    return {
        **container,
        **{name: _state(container[name]) for name in ("state", "lastState") if container.get(name)},
    }


def _state(state: dict[str, Any]) -> dict[str, Any]:
    return {
        kind: {
            key: times.normalize_time(value) if key in ("startedAt", "finishedAt") else value
            for key, value in details.items()
        }
        if isinstance(details, dict)
        else details
        for kind, details in state.items()
    }


def _positions(containers: Any) -> dict[str, int]:
    return {_name_of(container): index for index, container in enumerate(containers)}


def _name_of(container: Object) -> str:
    """Return the name of a container; whether one without a name is valid, the API server says."""
    return container.get("name") or ""

"""Columns of pods; the STATUS cell summarizes the states of the containers."""

from __future__ import annotations

from typing import Any

from modules.apiserver.columns.cells import AGE, NAME, NONE, Column, since, text
from modules.apiserver.meta.objects import Json, dig


def _statuses(pod: Json, field: str = "containerStatuses") -> list[Json]:
    return list(dig(pod, "status", field) or ())


def _ready(pod: Json) -> str:
    total = len(dig(pod, "spec", "containers") or ())
    ready = sum(
        1
        for status in _statuses(pod)
        if status.get("ready") and dig(status, "state", "running") is not None
    )
    return f"{ready}/{total}"


def _restarts(pod: Json) -> str:
    statuses = _statuses(pod)
    total = sum(int(status.get("restartCount") or 0) for status in statuses)
    ended = [dig(status, "lastState", "terminated", "finishedAt") for status in statuses]
    last = max(filter(None, ended), default=None)
    return f"{total} ({since(last)} ago)" if total and last else str(total)


def _status(pod: Json) -> str:
    reason = dig(pod, "status", "reason") or dig(pod, "status", "phase") or "Unknown"
    if "deletionTimestamp" in pod["metadata"]:
        return "Unknown" if reason == "NodeLost" else "Terminating"
    starting = _init_reason(pod)
    return starting or _container_reason(pod) or str(reason)


def _init_reason(pod: Json) -> str | None:
    """Return the state of the init container that the pod waits for, None without one."""
    total = len(dig(pod, "spec", "initContainers") or ())
    for index, status in enumerate(_statuses(pod, "initContainerStatuses")):
        state = status.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if terminated is not None:
            return f"Init:{_terminated_reason(terminated)}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return None


def _container_reason(pod: Json) -> str | None:
    reason: str | None = None
    running = False
    for status in reversed(_statuses(pod)):
        state = status.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason"):
            reason = str(waiting["reason"])
        elif terminated is not None:
            reason = _terminated_reason(terminated)
        elif status.get("ready") and state.get("running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running"
    return reason


def _terminated_reason(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _ip(pod: Json) -> str:
    addresses: list[Any] = dig(pod, "status", "podIPs") or []
    if addresses:
        return str(addresses[0].get("ip"))
    return str(dig(pod, "status", "podIP") or NONE)


def _gates(pod: Json) -> str:
    gates = dig(pod, "spec", "readinessGates") or ()
    if not gates:
        return NONE
    true = {
        condition.get("type")
        for condition in dig(pod, "status", "conditions") or ()
        if condition.get("status") == "True"
    }
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"


PODS = (
    NAME,
    Column("Ready", _ready, description="Containers that are ready, of all."),
    Column("Status", _status),
    Column("Restarts", _restarts),
    AGE,
    Column("IP", _ip, wide=True),
    Column("Node", text("spec", "nodeName", default=NONE), wide=True),
    Column("Nominated Node", text("status", "nominatedNodeName", default=NONE), wide=True),
    Column("Readiness Gates", _gates, wide=True),
)

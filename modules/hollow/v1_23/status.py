"""Node and Pod statuses as the kubelet of an edge writes them.

Their forms are those of recorded edges of 1.20 and 1.23.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from modules.common.times import format_now
from modules.hollow.machine import (
    addresses,
    container_digest,
    machine_uuid,
    node_address,
    pod_address,
)
from modules.hollow.versions import Version

Json = dict[str, Any]

_RESOURCES: Final = {"cpu": "4", "hugepages-1Gi": "0", "hugepages-2Mi": "0", "pods": "110"}
_CAPACITY: Final = _RESOURCES | {"memory": "8174592Ki"}
_ALLOCATABLE: Final = _RESOURCES | {"memory": "8072192Ki"}
#: Condition of a Node -> the reasons and messages of its absence and its presence.
_PRESSURES: Final = {
    "MemoryPressure": (
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
    ),
}
_READY: Final = ("True", "EdgeReady", "edge is posting ready status")
_NOT_READY: Final = ("False", "KubeletNotReady", "CSINode is not yet initialized")

#: The conditions of a Pod that kubelet writes; others are left as they are.
_OWNED: Final = (
    "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
)  # fmt: skip


def initial_node(name: str, version: Version) -> Json:
    """Return the Node with which an edge registers; it is not ready yet."""
    machine = machine_uuid(name)
    info = {
        "machineID": machine.hex,
        "systemUUID": str(machine),
        "bootID": str(uuid.uuid5(machine, "boot")),
        "kernelVersion": "6.1.0-28-amd64",
        "osImage": "Debian GNU/Linux 12 (bookworm)",
        "containerRuntimeVersion": "containerd://1.7.24",
        "kubeletVersion": version.kubelet,
        "kubeProxyVersion": "v0.0.0",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
    status = {
        "capacity": _CAPACITY,
        "allocatable": _ALLOCATABLE,
        "conditions": node_conditions([], (), ready=False),
        "addresses": addresses(name),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}},
        "nodeInfo": info,
    }
    annotations = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
    metadata = {
        "name": name,
        "creationTimestamp": None,
        "labels": node_labels(name),
        "annotations": annotations,
    }
    return {"metadata": metadata, "spec": {}, "status": status}


def node_labels(name: str) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node-role.kubernetes.io/agent": "",
        "node-role.kubernetes.io/edge": "",
    }


def node_conditions(before: list[Json], pressures: tuple[str, ...], *, ready: bool) -> list[Json]:
    """Return the conditions of a Node now; a condition that did not change keeps its transition."""
    made = []
    for kind, reasons in _PRESSURES.items():
        present = kind in pressures
        made.append(_node_condition(kind, (str(present), *reasons[present])))
    made.append(_node_condition("Ready", _READY if ready else _NOT_READY))
    return _with_transitions(before, made)


def _node_condition(kind: str, state: tuple[str, str, str]) -> Json:
    status, reason, message = state
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": format_now(),
        "reason": reason,
        "message": message,
    }


def waiting(pod: Json, since: str, node: str) -> Json:
    """Return the status of a pod whose containers wait for their volumes."""
    names = ", ".join(container["name"] for container in _containers(pod))
    unready = {
        "status": "False",
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{names}]",
    }
    conditions = _pod_conditions(started=False, ready=unready)
    state = {"waiting": {"reason": "ContainerCreating"}}
    return _pod_status(pod, "Pending", conditions, state) | _host(since, node)


def running(pod: Json, since: str, started: str, node: str) -> Json:
    conditions = _pod_conditions(started=True, ready={"status": "True"})
    state = {"running": {"startedAt": started}}
    address = pod_address(pod)
    status = _pod_status(pod, "Running", conditions, state) | _host(since, node)
    return status | {"podIP": address, "podIPs": [{"ip": address}]}


def terminated(pod: Json, since: str, started: str, node: str) -> Json:
    """Return the status of a pod that was deleted, and whose processes ended with status 0."""
    state = {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": started,
            "finishedAt": format_now(),
        }
    }
    done = {"status": "False", "reason": "PodCompleted"}
    conditions = _pod_conditions(started=False, ready=done)
    return _pod_status(pod, "Succeeded", conditions, state) | _host(since, node)


def merged(before: Json, after: Json) -> Json:
    """Return the status of a pod in the API, with what kubelet has found out (mergePodStatus)."""
    known = before.get("conditions") or []
    ours = _with_transitions(known, after["conditions"])
    others = [each for each in known if each["type"] not in _OWNED]
    return before | after | {"conditions": ours + others}


def _containers(pod: Json) -> list[Json]:
    containers: list[Json] = pod.get("spec", {}).get("containers") or []
    return containers


def _host(since: str, node: str) -> Json:
    address = node_address(node)
    return {"hostIP": address, "hostIPs": [{"ip": address}], "startTime": since}


def _pod_conditions(*, started: bool, ready: Json) -> list[Json]:
    states = {
        "PodReadyToStartContainers": {"status": str(started)},
        "Initialized": {"status": "True"},
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": {"status": "True"},
    }
    return [{"type": kind, "lastProbeTime": None} | state for kind, state in states.items()]


def _pod_status(pod: Json, phase: str, conditions: list[Json], state: Json) -> Json:
    statuses = [_container_status(pod, container, state) for container in _containers(pod)]
    return {"phase": phase, "conditions": conditions, "containerStatuses": statuses}


def _container_status(pod: Json, container: Json, state: Json) -> Json:
    runs = "running" in state
    image = container.get("image", "")
    status = {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": runs,
        "restartCount": 0,
        "image": image,
        "imageID": "",
        "started": runs,
    }
    if mounts := container.get("volumeMounts"):
        fields = ("mountPath", "name", "readOnly")
        status["volumeMounts"] = [
            {field: mount[field] for field in fields if field in mount} for mount in mounts
        ]
    if "waiting" not in state:
        digest = container_digest(pod, container["name"])
        status |= {"containerID": f"containerd://{digest}", "imageID": f"sha256:{digest}"}
    return status


def _with_transitions(before: list[Json], after: list[Json]) -> list[Json]:
    """Give each condition the time of its last transition: now, or as before.

    The API may leave out a lastProbeTime of null, which is no difference then.
    """
    known = {each["type"]: each for each in before}
    made = []
    for condition in after:
        old = known.get(condition["type"], {})
        same = old.get("status") == condition["status"]
        since = (same and old.get("lastTransitionTime")) or format_now()
        new = condition | {"lastTransitionTime": since}
        if old and "lastProbeTime" not in old:
            new.pop("lastProbeTime", None)
        made.append(new)
    return made

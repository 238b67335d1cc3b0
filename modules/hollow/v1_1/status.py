"""Node and pod status as an edge of v1.1 reports them.

After edge/pkg/edged/edged_status.go and pleg/generic.go; the requests around them are
common/types/types.go.
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

RUNTIME: Final = "remote://18.9.6"
VERSION: Final = "v1.10.9-kubeedge-v1.1.0"


def node_status_request(node: str, ready_since: str) -> dict[str, Any]:
    """Return the NodeStatusRequest of a node that is Ready."""
    machine = machine_uuid(node)
    return {
        "UID": str(machine),
        "Status": {
            "capacity": {"cpu": "4", "memory": "7983Mi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "7883Mi", "pods": "110"},
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastHeartbeatTime": format_now(),
                    "lastTransitionTime": ready_since,
                    "reason": "EdgeReady",
                    "message": "edge is posting ready status",
                }
            ],
            "addresses": addresses(node),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {
                "machineID": machine.hex,
                "systemUUID": str(machine),
                "bootID": str(uuid.uuid5(machine, "boot")),
                "kernelVersion": "4.15.0-58-generic",
                "osImage": "Ubuntu 18.04.3 LTS",
                "containerRuntimeVersion": RUNTIME,
                "kubeletVersion": VERSION,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
        "ExtendResources": None,
    }


def pod_status_request(pod: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    """Return the PodStatusRequest for one pod."""
    metadata = pod["metadata"]
    return {"UID": metadata.get("uid", ""), "Name": metadata["name"], "Status": status}


def waiting(pod: dict[str, Any], missing: list[str]) -> dict[str, Any]:
    """Return the status of a pod whose containers wait for objects that it refers to."""
    state = {"waiting": {"reason": "ContainerCreating", "message": f"waiting for {missing}"}}
    return _status(pod, "Pending", state, ready=False)


def running(pod: dict[str, Any], since: str, node: str) -> dict[str, Any]:
    status = _status(pod, "Running", {"running": {"startedAt": since}}, ready=True)
    address = node_address(node)
    return status | {"startTime": since, "hostIP": address, "podIP": pod_address(pod)}


def terminated(pod: dict[str, Any], since: str, until: str) -> dict[str, Any]:
    """Return the status of a pod that was deleted and has terminated: Succeeded, as in edged."""
    state = {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "startedAt": since,
            "finishedAt": until,
        }
    }
    return _status(pod, "Succeeded", state, ready=False) | {"startTime": since}


def _status(
    pod: dict[str, Any], phase: str, state: dict[str, Any], *, ready: bool
) -> dict[str, Any]:
    initialized = phase != "Pending"
    conditions = [
        {"type": "Initialized", "status": str(initialized), "lastProbeTime": None},
        {"type": "Ready", "status": str(ready), "lastProbeTime": None},
        {"type": "PodScheduled", "status": "True", "lastProbeTime": None},
    ]
    if not ready:
        conditions[1]["reason"] = "PodCompleted" if initialized else "ContainersNotReady"
    return {
        "phase": phase,
        "conditions": conditions,
        "containerStatuses": [
            _container(pod, container, state, ready=ready)
            for container in pod.get("spec", {}).get("containers") or ()
        ],
    }


def _container(
    pod: dict[str, Any], container: dict[str, Any], state: dict[str, Any], *, ready: bool
) -> dict[str, Any]:
    image = container.get("image", "")
    status = {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": ready,
        "restartCount": 0,
        "image": image,
        "imageID": "",
    }
    if "waiting" not in state:
        status["containerID"] = f"docker://{container_digest(pod, container['name'])}"
        status["imageID"] = f"docker-pullable://{image}"
    return status

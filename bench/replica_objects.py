"""The objects of a fleet, by their numbers, as an API server lists them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from modules.common.kube import DEVICES, DEVICES_V1BETA1, PODS, SECRETS, Resource
from modules.hollow.manifests import applied

ON_A_NODE: Final = 10


def _pod(number: int) -> Any:
    """Return a pod as it is after it was admitted, bound and started."""
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    container = {
        "name": "web",
        "image": "nginx:1.27",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "env": [{"name": "MODE", "value": "edge"}],
        "volumeMounts": [{"name": "api", "mountPath": "/var/run/secrets", "readOnly": True}],
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
    }
    return {
        "metadata": {
            "name": f"web-7d4b9c-{number}",
            "namespace": "default",
            "uid": f"5c0e2d9a-1111-4222-8333-{number:012}",
            "resourceVersion": str(1000 + number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "web", "pod-template-hash": "7d4b9c"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"}],
        },
        "spec": {
            "nodeName": f"edge-{number // ON_A_NODE}",
            "containers": [container],
            "volumes": [{"name": "api", "projected": {"defaultMode": 420, "sources": [token]}}],
            "tolerations": [
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
            ],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": type_, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                for type_ in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "containerStatuses": [{"name": "web", "ready": True, "image": "nginx:1.27"}],
        },
    }


def _secret(number: int) -> Any:
    metadata = {
        "name": f"token-{number}",
        "namespace": "default",
        "uid": f"6d1e2d9a-1111-4222-8333-{number:012}",
        "resourceVersion": str(1000 + number),
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {"metadata": metadata, "type": "Opaque", "data": {"key": f"{number:04000}"}}


def _device(number: int) -> Any:
    """Return a device of ten properties, each with what its mapper needs, that is accepted."""
    properties = [
        {
            "name": f"temperature-{property_}",
            "desired": {"value": "20", "metadata": {"type": "int", "timestamp": "1767225600000"}},
            "visitors": {
                "protocolName": "modbus",
                "configData": {"register": "HoldingRegister", "offset": property_, "limit": 1},
            },
            "reportCycle": 10000,
            "collectCycle": 10000,
            "reportToCloud": True,
        }
        for property_ in range(10)
    ]
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "the device is valid",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "metadata": {
            "name": f"sensor-{number}",
            "namespace": "default",
            "uid": f"7e2f2d9a-1111-4222-8333-{number:012}",
            "resourceVersion": str(1000 + number),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"description": "temperature"},
        },
        "spec": {
            "nodeName": f"edge-{number // ON_A_NODE}",
            "deviceModelRef": {"name": "sensor"},
            "protocol": {
                "protocolName": "modbus",
                "configData": {"serialPort": "/dev/ttyS0", "baudRate": 9600, "slaveID": number},
            },
            "properties": properties,
        },
        "status": {"conditions": [condition]},
    }


def _device_of_v1alpha1(number: int) -> Any:
    """Return a device of ten properties that was applied, is accepted, and has reported them."""
    twins = [
        {
            "propertyName": f"temperature-{property_}",
            "desired": {"value": "20", "metadata": {"type": "int"}},
        }
        for property_ in range(10)
    ]
    modern = _device(number)
    node = {"key": "", "operator": "In", "values": [f"edge-{number // ON_A_NODE}"]}
    spec = {
        "deviceModelRef": {"name": "sensor"},
        "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [node]}]},
        "protocol": {
            "modbus": {
                "rtu": {
                    "serialPort": "/dev/ttyS0",
                    "baudRate": 9600,
                    "dataBits": 8,
                    "parity": "even",
                    "stopBits": 1,
                    "slaveID": number % 247 + 1,
                }
            }
        },
    }
    made: Any = applied(
        {"metadata": modern["metadata"], "spec": spec, "status": {"twins": twins}},
    )
    random = Random(number)
    for twin in made["status"]["twins"]:
        time = str(1767225600000 + random.randrange(10**9))
        metadata = {"timestamp": time, "type": "int"}
        twin["reported"] = {"value": str(random.randrange(1000)), "metadata": metadata}
    made["status"]["conditions"] = modern["status"]["conditions"]
    return made


MAKERS: Final[dict[Resource, Callable[[int], Any]]] = {
    PODS: _pod,
    SECRETS: _secret,
    DEVICES_V1BETA1: _device,
    DEVICES: _device_of_v1alpha1,
}

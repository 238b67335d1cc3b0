"""The objects of the demo: one edge node, what runs on it and a device."""

from __future__ import annotations

import json
from typing import Any

LED = "led-light"
PROPERTY = "power-status"


def node(name: str) -> dict[str, Any]:
    labels = {"node-role.kubernetes.io/edge": ""}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}}


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def pod(name: str, node_name: str, configmap_name: str) -> dict[str, Any]:
    """A pod bound to the node, with the config map as its environment."""
    container = {
        "name": "web",
        "image": "nginx:1.17",
        "envFrom": [{"configMapRef": {"name": configmap_name}}],
    }
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node_name, "containers": [container]},
    }


def plain_pod(name: str, node_name: str) -> dict[str, Any]:
    """A pod bound to the node that refers to nothing."""
    made = pod(name, node_name, "")
    del made["spec"]["containers"][0]["envFrom"]
    return made


def device_model() -> dict[str, Any]:
    kind = {"string": {"accessMode": "ReadWrite", "defaultValue": "OFF"}}
    properties = [{"name": PROPERTY, "description": "Whether the LED is ON or OFF", "type": kind}]
    return {
        "metadata": {"name": LED, "namespace": "default"},
        "spec": {"properties": properties},
    }


def applied(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as `kubectl apply` creates it: with an annotation of what was applied."""
    text = json.dumps(obj)
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def device(name: str, node_name: str, desired: str) -> dict[str, Any]:
    """An LED at the node; `desired` is what the cloud wants its power-status to be."""
    expression = {"key": "", "operator": "In", "values": [node_name]}
    twin = {
        "propertyName": PROPERTY,
        "desired": {"value": desired, "metadata": {"type": "string"}},
        "reported": {"value": ""},
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"description": "LEDLight", "model": LED},
        },
        "spec": {
            "deviceModelRef": {"name": LED},
            "protocol": {"modbus": {"tcp": {"ip": "127.0.0.1", "port": 502, "slaveID": "1"}}},
            "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]},
        },
        "status": {"twins": [twin]},
    }

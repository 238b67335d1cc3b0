"""The objects of the demo: edge nodes, pods with their configmap, and a device of each version."""

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
    """Return a pod bound to the node, with the configmap as its environment."""
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
    """Return a pod bound to the node, without references to other objects."""
    made = pod(name, node_name, "")
    del made["spec"]["containers"][0]["envFrom"]
    return made


def device_model() -> dict[str, Any]:
    """Return the model of LEDs in v1alpha1, for edges of KubeEdge 1.1."""
    kind = {"string": {"accessMode": "ReadWrite", "defaultValue": "OFF"}}
    properties = [{"name": PROPERTY, "description": "Whether the LED is ON or OFF", "type": kind}]
    return {
        "metadata": {"name": LED, "namespace": "default"},
        "spec": {"properties": properties},
    }


def applied(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object as `kubectl apply` creates it, with its annotation."""
    text = json.dumps(obj)
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def device(name: str, node_name: str, desired: str) -> dict[str, Any]:
    """Return an LED of v1alpha1 at the node; `desired` is the value of its power-status."""
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


def device_model_v1beta1(name: str = LED, unit: str = "") -> dict[str, Any]:
    """Return a model of LEDs in v1beta1, for edges of KubeEdge 1.15 and later."""
    described = {"name": PROPERTY, "type": "STRING", "accessMode": "ReadWrite", "unit": unit}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"protocol": "modbus", "properties": [described]},
    }


def device_v1beta1(
    name: str, node_name: str, desired: str, *, model: str = LED, cycle: float = 0.2
) -> dict[str, Any]:
    """Return an LED of v1beta1 at the node, which reports its power-status every `cycle` seconds.

    It reports its state too.
    """
    milliseconds = round(cycle * 1000)
    power = {
        "name": PROPERTY,
        "desired": {"value": desired},
        "collectCycle": milliseconds,
        "reportToCloud": True,
    }
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"description": "LEDLight"}},
        "spec": {
            "deviceModelRef": {"name": model},
            "protocol": {"protocolName": "modbus"},
            "nodeName": node_name,
            "properties": [power],
        },
        "status": {"reportToCloud": True, "reportCycle": milliseconds},
    }

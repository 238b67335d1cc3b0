"""Devices, models, and what the Go cloud said of them in the recorded session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NODE = "edge-node-1"
LED = "led-light-instance-01"
CAPTURE = Path(__file__).parents[2] / "data" / "captures" / "v1.1-edge.jsonl"


def device(
    name: str = LED,
    *,
    node: str | None = NODE,
    namespace: str = "default",
    model: str = "led-light",
    twins: dict[str, str] | None = None,
    protocol: dict[str, Any] | None = None,
    version: str = "221",
    uid: str = "",
    created: str = "2026-11-23T23:09:22Z",
) -> dict[str, Any]:
    """A Device as the API gives it."""
    terms = [{"matchExpressions": [{"key": "", "operator": "In", "values": [node]}]}]
    spec: dict[str, Any] = {"deviceModelRef": {"name": model}}
    if node is not None:
        spec["nodeSelector"] = {"nodeSelectorTerms": terms}
    if protocol is not None:
        spec["protocol"] = protocol
    return {
        "apiVersion": "devices.kubeedge.io/v1alpha1",
        "kind": "Device",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{namespace}-{name}",
            "resourceVersion": version,
            "creationTimestamp": created,
            "labels": {"description": "LEDLight", "model": model},
        },
        "spec": spec,
        "status": {"twins": twin_list({"power-status": "OFF"} if twins is None else twins)},
    }


def twin_list(desired: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"propertyName": name, "desired": {"value": value, "metadata": {"type": "string"}}}
        for name, value in desired.items()
    ]


def to_create(obj: dict[str, Any]) -> dict[str, Any]:
    """The object as a person would write it: without what the API server adds."""
    added = ("uid", "resourceVersion", "creationTimestamp")
    metadata = {name: value for name, value in obj["metadata"].items() if name not in added}
    return obj | {"metadata": metadata}


def model(name: str = "led-light", *, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """A DeviceModel as the API gives it: by default that of KubeEdge's led-light sample."""
    return {
        "apiVersion": "devices.kubeedge.io/v1alpha1",
        "kind": "DeviceModel",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "resourceVersion": "220",
        },
        "spec": spec
        or {
            "properties": [
                {
                    "name": "power-status",
                    "description": "Indicates whether the led light is ON/OFF",
                    "type": {"string": {"accessMode": "ReadWrite", "defaultValue": "OFF"}},
                },
                {
                    "name": "gpio-pin-number",
                    "description": "Indicates the GPIO pin to which LED is connected",
                    "type": {"int": {"accessMode": "ReadOnly", "defaultValue": 18}},
                },
            ]
        },
    }


def recorded() -> dict[str, list[dict[str, Any]]]:
    """The messages of the recorded session by edge-side resource, contents decoded."""
    messages: dict[str, list[dict[str, Any]]] = {}
    for line in CAPTURE.read_text().splitlines():
        message = json.loads(line).get("message")
        if message and message["route"]["source"] in {"devicecontroller", "twin"}:
            message["content"] = json.loads(message["content"])
            messages.setdefault(message["route"]["resource"], []).append(message)
    return messages


def shape(content: Any) -> Any:
    """A content with what differs from run to run blanked: ids, times and versions."""
    if isinstance(content, dict):
        return {
            name: type(value).__name__
            if name in {"event_id", "timestamp", "cloud"}
            else shape(value)
            for name, value in content.items()
        }
    if isinstance(content, list):
        return [shape(value) for value in content]
    return content


def report(value: str, version: int, timestamp: int | None = None) -> bytes:
    """What an edge of v1.1 reports of the led light's power-status."""
    twin = {
        "actual": {"value": value, "metadata": {"timestamp": timestamp or version}},
        "optional": False,
        "metadata": {"type": "string"},
        "actual_version": {"cloud": 0, "edge": version},
    }
    content = {"event_id": "e", "timestamp": version, "twin": {"power-status": twin}}
    return json.dumps(content).encode()

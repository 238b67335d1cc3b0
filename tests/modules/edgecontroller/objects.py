"""Objects of the API, and the names of the nodes of these tests."""

from __future__ import annotations

from typing import Any

NODE = "edge-node-1"
BARRIER = "barrier"
EDGE_LABEL = {"node-role.kubernetes.io/edge": ""}
Json = dict[str, Any]


def node(name: str = NODE, **more: Any) -> Json:
    return {"metadata": {"name": name, "labels": EDGE_LABEL}, **more}


def pod(name: str, on: str = NODE, *, spec: Json | None = None, **metadata: Any) -> Json:
    container = {"name": "c", "image": "nginx:1"}
    return {
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"nodeName": on, "containers": [container], **(spec or {})},
    }


def configmap(name: str, **data: str) -> Json:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def using(*configmaps: str) -> Json:
    """Make the part of a pod's spec that refers to configmaps."""
    volumes = [{"name": name, "configMap": {"name": name}} for name in configmaps]
    return {"volumes": volumes}

"""Objects for the tests of the API server."""

from __future__ import annotations

from typing import Any


def pod(name: str = "p", *, node: str = "", **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.25"}], **spec},
    }
    if node:
        obj["spec"]["nodeName"] = node
    return obj

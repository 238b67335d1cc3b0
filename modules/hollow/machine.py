"""The simulated machine of a node, which is the same for the same node name."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Final

_NAMES: Final = uuid.UUID("8a5c1b2e-6f0d-4c53-9a77-0c1de5b2f6a4")


def node_address(node: str) -> str:
    """Return an address in 10.0.0.0/8, a hash of the node's name."""
    first, second, third = hashlib.sha256(node.encode()).digest()[:3]
    return f"10.{first}.{second}.{third or 1}"


def pod_address(pod: dict[str, Any]) -> str:
    """Return an address in 172.17.0.0/16, a hash of the pod's uid."""
    uid = pod["metadata"].get("uid", pod["metadata"]["name"])
    second, third = hashlib.sha256(uid.encode()).digest()[:2]
    return f"172.17.{second}.{third or 1}"


def machine_uuid(node: str) -> uuid.UUID:
    return uuid.uuid5(_NAMES, node)


def addresses(node: str) -> list[dict[str, str]]:
    """Return the addresses of a Node's status."""
    return [
        {"type": "InternalIP", "address": node_address(node)},
        {"type": "Hostname", "address": node},
    ]


def container_digest(pod: dict[str, Any], container: str) -> str:
    """Return the hexadecimal part of a container's id."""
    uid = pod["metadata"].get("uid", "")
    return hashlib.sha256(f"{uid}/{container}".encode()).hexdigest()

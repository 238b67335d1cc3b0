"""What edges report, as edged makes it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from .objects import NODE, Json

STATUS = f"default/nodestatus/{NODE}"
ANSWER = f"node/{NODE}/default/node/{NODE}"


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ready(*, heartbeat: str | None = None, transition: str | None = None) -> Json:
    return {
        "type": "Ready",
        "status": "True",
        "lastHeartbeatTime": heartbeat,
        "lastTransitionTime": transition,
        "reason": "EdgeReady",
        "message": "edge is posting ready status",
    }


def node_status(**status: Any) -> Json:
    return {
        "UID": "38796d14-1df3-11e8-8e5a-286ed488f209",
        "Status": {
            "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "phase": "Running",
            "conditions": [ready(heartbeat=ago(1), transition=ago(1))],
            "addresses": [
                {"type": "InternalIP", "address": "10.1.2.3"},
                {"type": "Hostname", "address": "edge"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {"architecture": "amd64", "kubeletVersion": "0.3.0-alpha.0"},
            **status,
        },
        "ExtendResources": None,
    }

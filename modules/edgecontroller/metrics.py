"""What EdgeController counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from modules.common.kube.metrics import SYNC_BUCKETS

SYNC_LATENCY: Final = Histogram(
    "cloudcore_edgecontroller_sync_latency_seconds",
    "From the moment an object is due to a node, by the API's event or since the node has "
    "connected, until the message is in cloudhub's channel.",
    buckets=SYNC_BUCKETS,
)
MESSAGES_SENT: Final = Counter(
    "cloudcore_edgecontroller_messages_sent_total", "Messages that cloudhub's channel has taken."
)
MESSAGES_REFUSED: Final = Counter(
    "cloudcore_edgecontroller_messages_refused_total",
    "Messages that edges could not keep, and are sent again.",
)
REQUESTS_DENIED: Final = Counter(
    "cloudcore_edgecontroller_requests_denied_total",
    "Messages of edges that asked for or wrote what the node has no right to.",
    ["operation", "type"],
)
MESSAGES_HANDLED: Final = Counter(
    "cloudcore_edgecontroller_messages_handled_total",
    "Messages of edges that have been worked off.",
    ["kind"],
)
QUEUE_DEPTH: Final = Gauge(
    "cloudcore_edgecontroller_queue_depth",
    "What waits: objects due to nodes (outbox), messages of edges by kind.",
    ["queue"],
    multiprocess_mode="livesum",
)
CONNECTED_NODES: Final = Gauge(
    "cloudcore_edgecontroller_connected_nodes",
    "Nodes that are known to be connected.",
    multiprocess_mode="livesum",
)

"""The metrics of EdgeController."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from modules.common.kube.metrics import SYNC_BUCKETS

SYNC_LATENCY: Final = Histogram(
    "cloudcore_edgecontroller_sync_latency_seconds",
    "Time from the API's event, or from the connection of the node, until the message is in "
    "cloudhub's channel.",
    buckets=SYNC_BUCKETS,
)
MESSAGES_SENT: Final = Counter(
    "cloudcore_edgecontroller_messages_sent_total", "Messages sent to cloudhub's channel."
)
MESSAGES_REFUSED: Final = Counter(
    "cloudcore_edgecontroller_messages_refused_total",
    "Messages that edges could not store; they are sent again.",
)
MESSAGES_RESENT: Final = Counter(
    "cloudcore_edgecontroller_messages_resent_total",
    "Messages sent again because an edge had not acknowledged the last one about the object.",
)
REQUESTS_DENIED: Final = Counter(
    "cloudcore_edgecontroller_requests_denied_total",
    "Requests of edges for objects that the node has no right to read or write.",
    ["operation", "type"],
)
MESSAGES_HANDLED: Final = Counter(
    "cloudcore_edgecontroller_messages_handled_total",
    "Messages of edges that have been handled.",
    ["kind"],
)
MESSAGES_DROPPED: Final = Counter(
    "cloudcore_edgecontroller_messages_dropped_total",
    "Messages of edges that were dropped because too many waited: Events, floods of one edge, "
    "and questions behind one that fails.",
    ["kind"],
)
QUEUE_DEPTH: Final = Gauge(
    "cloudcore_edgecontroller_queue_depth",
    "Objects due to nodes (outbox), ObjectSyncs to be written, and messages of edges by kind.",
    ["queue"],
    multiprocess_mode="livesum",
)
CONNECTED_NODES: Final = Gauge(
    "cloudcore_edgecontroller_connected_nodes",
    "Nodes that are known to be connected.",
    multiprocess_mode="livesum",
)

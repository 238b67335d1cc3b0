"""Metrics of CloudHub, without a label for the node: its cardinality would be too high.

Incrementing a Counter per message is too expensive: hot paths count in plain integers
(HubStatistics), which Exporter adds to the metrics periodically.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from prometheus_client import Counter, Gauge

#: Seconds before its end from which a certificate is counted as expiring.
_SOON: Final = 30 * 24 * 3600.0

NODES = Gauge(
    "cloudcore_cloudhub_connected_nodes", "Nodes that are connected.", multiprocess_mode="livesum"
)
NODE_LIMIT = Gauge(
    "cloudcore_cloudhub_node_limit",
    "Nodes that may be connected at once.",
    multiprocess_mode="livemostrecent",
)
QUEUED_MESSAGES = Gauge(
    "cloudcore_cloudhub_queue_messages",
    "Messages queued for nodes that read slowly.",
    multiprocess_mode="livesum",
)
QUEUED_BYTES = Gauge(
    "cloudcore_cloudhub_queue_bytes",
    "Bytes of the messages queued for nodes that read slowly.",
    multiprocess_mode="livesum",
)
EXPIRING = Gauge(
    "cloudcore_cloudhub_expiring_certificates",
    "Connected nodes whose certificate expires within 30 days.",
    multiprocess_mode="livesum",
)
SERVER_EXPIRY = Gauge(
    "cloudcore_cloudhub_certificate_expiry_timestamp_seconds",
    "Expiry of the server certificate, in seconds since the epoch.",
    multiprocess_mode="livemostrecent",
)
REFUSED = Counter(
    "cloudcore_cloudhub_refused_connections_total",
    "Connections that were refused, by cause.",
    ["cause"],
)
ENDED = Counter(
    "cloudcore_cloudhub_ended_sessions_total", "Sessions that have ended, by cause.", ["cause"]
)
MESSAGES = Counter(
    "cloudcore_cloudhub_messages_total",
    "Messages from edges (up, including keepalives) and to edges (down).",
    ["direction"],
)
DROPPED = Counter(
    "cloudcore_cloudhub_dropped_messages_total",
    "Messages that were dropped, by cause.",
    ["cause"],
)
JOIN_REQUESTS = Counter(
    "cloudcore_cloudhub_join_requests_total",
    "Requests to the HTTPS port, by route and HTTP status; route tls: failed handshakes.",
    ["route", "status"],
)
JOINED = Counter(
    "cloudcore_cloudhub_issued_certificates_total",
    "Certificates issued to edges, by what they have shown: token or certificate (renewals).",
    ["by"],
)
WRONG_TOKENS = Counter(
    "cloudcore_cloudhub_wrong_tokens_total", "Requests with a token that was not accepted."
)
TOTALS: Final = {
    "accepted": Counter("cloudcore_cloudhub_sessions_total", "Sessions that were opened."),
    "keepalives": Counter("cloudcore_cloudhub_keepalives_total", "Keepalives from edges."),
    "throttled": Counter(
        "cloudcore_cloudhub_throttled_total",
        "Times that reading from a node was paused by the rate limit.",
    ),
    "messages_up": MESSAGES.labels("up"),
    "messages_down": MESSAGES.labels("down"),
    **{
        cause: DROPPED.labels(cause)
        for cause in (
            "not_connected",
            "superseded",
            "late_answers",
            "unserved",
            "undeliverable_up",
            "undeliverable_down",
        )
    },
}


@dataclass(slots=True)
class HubStatistics:
    """Totals since the module's start, of one process."""

    accepted: int = 0
    refused: Tally[str] = field(default_factory=Tally)
    """connections that were refused, by cause"""
    ended: Tally[str] = field(default_factory=Tally)
    """sessions that have ended, by cause"""
    messages_up: int = 0
    messages_down: int = 0
    keepalives: int = 0
    not_connected: int = 0
    """messages for nodes that were not connected"""
    superseded: int = 0
    """queued messages that a newer state of the same object replaced"""
    throttled: int = 0
    """times that reading from a node was paused by the rate limit"""
    late_answers: int = 0
    unserved: int = 0
    """messages of edges that no module of cloudcore takes"""
    undeliverable_up: int = 0
    undeliverable_down: int = 0

    def as_details(self) -> dict[str, Any]:
        """Return the counts for the module's details in `cloudcore status`."""
        details = {each.name: getattr(self, each.name) for each in fields(self)}
        return details | {"refused": dict(self.refused), "ended": dict(self.ended)}


class Exporter:
    """Exports the counts of this process to its metrics."""

    def __init__(self, statistics: HubStatistics, limit: int) -> None:
        self._statistics = statistics
        self._exported: Tally[str] = Tally()
        self._refused: Tally[str] = Tally()
        self._ended: Tally[str] = Tally()
        NODE_LIMIT.set(limit)

    def totals(self) -> None:
        """Add the counts since the last call to the metrics."""
        for name, counter in TOTALS.items():
            value = getattr(self._statistics, name)
            if value != self._exported[name]:
                counter.inc(value - self._exported[name])
                self._exported[name] = value
        _add(self._statistics.refused, self._refused, REFUSED)
        _add(self._statistics.ended, self._ended, ENDED)

    def gauges(
        self, *, nodes: int, queue_messages: int, queue_bytes: int, server_expiry: float
    ) -> None:
        """Set the gauges of the present state; their help texts say what each one is."""
        NODES.set(nodes)
        QUEUED_MESSAGES.set(queue_messages)
        QUEUED_BYTES.set(queue_bytes)
        SERVER_EXPIRY.set(server_expiry)

    def certificates(self, expiries: Iterable[int], now: float) -> None:
        """Count the certificates that expire soon; all times are in seconds since the epoch."""
        soon = now + _SOON
        EXPIRING.set(sum(0 < expiry < soon for expiry in expiries))


def _add(counted: Tally[str], exported: Tally[str], counter: Counter) -> None:
    for cause, value in counted.items():
        if value != exported[cause]:
            counter.labels(cause).inc(value - exported[cause])
            exported[cause] = value

"""What CloudHub shows at /metrics, of all nodes together: a label for each would be too many.

An edge's message is worth less than what counting it here would cost, so that plain numbers are
counted (statistics.py), and brought here now and then.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from prometheus_client import Counter, Gauge

#: A certificate that ends within so many seconds is counted as one that needs renewal.
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
    "Messages that wait for nodes that read slowly.",
    multiprocess_mode="livesum",
)
QUEUED_BYTES = Gauge(
    "cloudcore_cloudhub_queue_bytes",
    "Bytes of the messages that wait for nodes that read slowly.",
    multiprocess_mode="livesum",
)
EXPIRING = Gauge(
    "cloudcore_cloudhub_expiring_certificates",
    "Connected nodes whose certificate ends within 30 days.",
    multiprocess_mode="livesum",
)
SERVER_EXPIRY = Gauge(
    "cloudcore_cloudhub_certificate_expiry_timestamp_seconds",
    "When the certificate that edges are shown ends.",
    multiprocess_mode="livemostrecent",
)
REFUSED = Counter(
    "cloudcore_cloudhub_refused_connections_total",
    "Connections that got no session, by cause.",
    ["cause"],
)
ENDED = Counter("cloudcore_cloudhub_ended_sessions_total", "Sessions that are over.", ["cause"])
MESSAGES = Counter(
    "cloudcore_cloudhub_messages_total",
    "Messages of edges (up, keepalives included) and to edges (down).",
    ["direction"],
)
DROPPED = Counter(
    "cloudcore_cloudhub_dropped_messages_total",
    "Messages that were not passed on, by cause.",
    ["cause"],
)
TOTALS: Final = {
    "accepted": Counter("cloudcore_cloudhub_sessions_total", "Sessions that were opened."),
    "keepalives": Counter("cloudcore_cloudhub_keepalives_total", "Keepalives of edges."),
    "throttled": Counter(
        "cloudcore_cloudhub_throttled_total",
        "Times that a node was not read because it sent more than rate_limit.",
    ),
    "messages_up": MESSAGES.labels("up"),
    "messages_down": MESSAGES.labels("down"),
    **{
        cause: DROPPED.labels(cause)
        for cause in (
            "not_connected",
            "superseded",
            "late_answers",
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
    """connections that got no session, by cause"""
    ended: Tally[str] = field(default_factory=Tally)
    """sessions that are over, by cause"""
    messages_up: int = 0
    messages_down: int = 0
    keepalives: int = 0
    not_connected: int = 0
    """messages for nodes that were not connected"""
    superseded: int = 0
    """messages that a later state of the same object made superfluous"""
    throttled: int = 0
    """times that a node was not read because it sent more than it may"""
    late_answers: int = 0
    undeliverable_up: int = 0
    undeliverable_down: int = 0

    def as_details(self) -> dict[str, Any]:
        """Return the counts as a module's details are shown."""
        details = {each.name: getattr(self, each.name) for each in fields(self)}
        return details | {"refused": dict(self.refused), "ended": dict(self.ended)}


class Exporter:
    """Brings the numbers of a process to its metrics."""

    def __init__(self, statistics: HubStatistics, limit: int) -> None:
        self._statistics = statistics
        self._brought: Tally[str] = Tally()
        self._refused: Tally[str] = Tally()
        self._ended: Tally[str] = Tally()
        NODE_LIMIT.set(limit)

    def totals(self) -> None:
        """Add what has been counted since the last time."""
        for name, counter in TOTALS.items():
            value = getattr(self._statistics, name)
            if value != self._brought[name]:
                counter.inc(value - self._brought[name])
                self._brought[name] = value
        _bring(self._statistics.refused, self._refused, REFUSED)
        _bring(self._statistics.ended, self._ended, ENDED)

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


def _bring(counted: Tally[str], brought: Tally[str], counter: Counter) -> None:
    for cause, value in counted.items():
        if value != brought[cause]:
            counter.labels(cause).inc(value - brought[cause])
            brought[cause] = value

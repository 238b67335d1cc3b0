"""What CloudHub shows at /metrics, of all nodes together: a label for each would be too many.

An edge's message is worth less than what counting it here would cost, so that plain numbers are
counted (statistics.py), and brought here now and then.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Gauge

from modules.cloudhub.session.session import Session
from modules.cloudhub.statistics import Statistics

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


class Exporter:
    """Brings the numbers of a process to its metrics."""

    def __init__(self, statistics: Statistics, limit: int) -> None:
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

    def gauges(self, nodes: int, slow: Iterable[Session], server_expiry: float) -> None:
        """Tell what is now: `slow` are the sessions with a queue, the rest is as in the help."""
        NODES.set(nodes)
        queues = [session.queue for session in slow]
        QUEUED_MESSAGES.set(sum(map(len, queues)))
        QUEUED_BYTES.set(sum(queue.bytes for queue in queues))
        SERVER_EXPIRY.set(server_expiry)

    def certificates(self, sessions: Iterable[Session], now: float) -> None:
        """Look at the certificate of every session; `now` is in seconds since the epoch."""
        soon = now + _SOON
        EXPIRING.set(sum(0 < session.identity.expires < soon for session in sessions))


def _bring(counted: Tally[str], brought: Tally[str], counter: Counter) -> None:
    for cause, value in counted.items():
        if value != brought[cause]:
            counter.labels(cause).inc(value - brought[cause])
            brought[cause] = value

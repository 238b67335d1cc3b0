"""Metrics of one of several replicas; a single cloudcore has none of them."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

NODES: Final = Gauge(
    "cloudcore_replica_nodes",
    "Nodes that this replica holds.",
    ["replica"],
    multiprocess_mode="livemostrecent",
)
LEADER: Final = Gauge(
    "cloudcore_replica_leader",
    "1 while this replica leads in what the label says, 0 otherwise.",
    ["replica", "what"],
    multiprocess_mode="livemostrecent",
)
RENEWED: Final = Gauge(
    "cloudcore_replica_lease_renewal_timestamp_seconds",
    "When this replica renewed its Lease last, in seconds since the epoch.",
    ["replica"],
    multiprocess_mode="livemostrecent",
)
DURATION: Final = Gauge(
    "cloudcore_replica_lease_duration_seconds",
    "Seconds for which a renewal counts (replicas.lease_duration).",
    ["replica"],
    multiprocess_mode="livemostrecent",
)
TAKEN: Final = Counter(
    "cloudcore_replica_takeovers_total",
    "Nodes that this replica has taken over from another one, which they had dialed before.",
)
LOST: Final = Counter(
    "cloudcore_replica_lost_nodes_total",
    "Nodes that another replica has taken over from this one while they had a session here.",
)
QUESTIONS: Final = Counter(
    "cloudcore_replica_questions_total",
    "Questions to nodes of other replicas, by result: answered; refused, with the reason; "
    "unreachable: the replica gave no answer.",
    ["result"],
)

"""Metrics of the Kubernetes client, with the label `module`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

#: Seconds from an event of a watch until a message about it has been sent.
SYNC_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 5, 30, 300),
)

API_REQUESTS: Final = Counter(
    "cloudcore_kube_api_requests_total",
    "Requests to the Kubernetes API, watches included.",
    ["module", "method"],
)
API_ERRORS: Final = Counter(
    "cloudcore_kube_api_errors_total",
    "Requests to the Kubernetes API that failed, by HTTP status; unreachable: there was no answer.",
    ["module", "code"],
)
THROTTLED: Final = Counter(
    "cloudcore_kube_throttled_seconds_total",
    "Time that requests have been held back by kubernetes.qps and kubernetes.burst.",
    ["module"],
)
WATCH_RESTARTS: Final = Counter(
    "cloudcore_kube_watch_restarts_total",
    "Watches begun after the first one of their kind; an API server ends each after some minutes.",
    ["module", "resource"],
)
RELISTS: Final = Counter(
    "cloudcore_kube_relists_total",
    "Lists after the first one: the watch could not go on where it was (410), or a resync.",
    ["module", "resource"],
)
CACHED_OBJECTS: Final = Gauge(
    "cloudcore_kube_cached_objects",
    "Objects of the Kubernetes API that are kept in memory.",
    ["module", "resource"],
    multiprocess_mode="livesum",
)
EVENTS_DROPPED: Final = Counter(
    "cloudcore_kube_events_dropped_total",
    "Kubernetes Events that were not written: too much is said of an object, or it was refused.",
    ["module"],
)
SET_ASIDE: Final = Counter(
    "cloudcore_kube_set_aside_total",
    "Objects of the Kubernetes API, and messages of edges, that could not be used and were set "
    "aside, by resource; message: a message of an edge.",
    ["module", "resource"],
)

"""All metrics in Prometheus' text format: those of the modules, and those of the supervisor.

The values of modules are read from their files (telemetry/process_metrics.py). The supervisor's own
are collected from the fleet at each request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from supervisor.admin import status
from supervisor.admin.status import ModuleStatus
from supervisor.fleet.fleet import Fleet
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def render(fleet: Fleet) -> bytes:
    """Return all metrics as text; families are sorted by name."""
    registry = CollectorRegistry()
    document = status.render(fleet)
    up = time.monotonic() - fleet.began
    registry.register(
        Supervised(fleet.units.values(), document.modules, document.version, fleet.started_at, up)
    )
    registry.register(_OfModules(fleet.paths.metrics_dir))
    return generate_latest(registry)


class _OfModules(Collector):
    """The metrics of the modules; a damaged file of one hides those of no other.

    A process that is killed while prometheus_client makes a file leaves an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def describe(self) -> list[Metric]:
        return []  # so that registering does not collect

    def collect(self) -> Iterable[Metric]:
        files = sorted(map(str, self._directory.glob("*.db")))
        try:
            return _merged(files)
        except Exception:  # whatever the bytes of a damaged file lead to
            return _merged([file for file in files if _is_whole(file)])


def _merged(files: list[str]) -> Iterable[Metric]:
    merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return merged


def _is_whole(file: str) -> bool:
    try:
        _merged([file])
    except Exception as error:
        log.warning("cannot read the metrics in %s: %s", Path(file).name, error)
        return False
    return True


class Supervised(Collector):
    """The metrics of the supervisor: what it knows of every module."""

    def __init__(
        self,
        units: Iterable[Unit],
        modules: Sequence[ModuleStatus],
        version: str,
        started_at: float,
        up: float,
    ) -> None:
        """Set up for one request; `up` is the seconds since the start, `started_at` the epoch's."""
        self._units = list(units)
        self._modules = modules
        self._version = version
        self._started_at = started_at
        self._up = up

    def describe(self) -> list[Metric]:
        return []  # so that registering does not collect

    def collect(self) -> Iterator[Metric]:
        modules, units = self._modules, self._units
        yield _gauge("up", "Always 1; the label has the version.", "version", [(self._version, 1)])
        started = "When cloudcore was started."
        yield _gauge("start_time_seconds", started, "", [("", self._started_at)])
        uptime = "Time since the start, on the monotonic clock."
        yield _gauge("uptime_seconds", uptime, "", [("", self._up)])
        yield _family(
            GaugeMetricFamily,
            "module_state",
            "1 for the state that the module is in.",
            ("module", "state"),
            [((module.name, module.state), 1) for module in modules],
        )
        yield _family(
            CounterMetricFamily,
            "module_transitions",
            "Changes of state, by the new state.",
            ("module", "state"),
            [((u.name, state), n) for u in units for state, n in u.transitions.items()],
        )
        yield _family(
            CounterMetricFamily,
            "module_restarts",
            "Restarts, by cause.",
            ("module", "cause"),
            [((u.name, cause), n) for u in units for cause, n in u.restarts.items()],
        )
        for name, help_text, value in _OF_PROCESSES:
            yield _gauge(name, help_text, "module", [(m.name, value(m)) for m in modules])
        cpu = [((m.name,), m.cpu_seconds) for m in modules]
        text = "CPU time of the module's present process."
        yield _family(CounterMetricFamily, "module_cpu_seconds", text, ("module",), cpu)
        for name, help_text, attribute in _OF_INBOXES:
            rows = [((m.name,), getattr(m.inbox, attribute)) for m in modules]
            gauge = attribute in {"messages", "bytes", "capacity_bytes"}
            kind = GaugeMetricFamily if gauge else CounterMetricFamily
            yield _family(kind, name, help_text, ("module",), rows)
        yield self._round_trips()

    def _round_trips(self) -> Metric:
        family = HistogramMetricFamily(
            "cloudcore_send_sync_seconds",
            "Time from a send_sync to its answer, by the module that was asked.",
            labels=("module",),
        )
        for unit in self._units:
            asked = unit.mailbox.inbox.statistics().round_trips
            bounds = [*map(str, asked.bounds), "+Inf"]
            buckets = list(zip(bounds, asked.cumulative(), strict=True))
            family.add_metric((unit.name,), buckets, asked.sum_seconds)
        return family


_OF_PROCESSES: Final[list[tuple[str, str, Callable[[ModuleStatus], float | None]]]] = [
    ("module_ready", "Whether the module is ready.", lambda m: m.state == "ready"),
    ("module_uptime_seconds", "Age of the module's process.", lambda m: m.uptime_seconds),
    ("module_resident_memory_bytes", "Resident memory of the process.", lambda m: m.rss_bytes),
    ("module_open_fds", "Open descriptors of the process.", lambda m: m.fds),
    ("module_threads", "Threads of the process.", lambda m: m.threads),
]
_OF_INBOXES: Final = [
    ("channel_messages", "Messages in the channel, those in flight included.", "messages"),
    ("channel_bytes", "Bytes of the messages in the channel.", "bytes"),
    ("channel_capacity_bytes", "Bytes that each sender may have in it.", "capacity_bytes"),
    ("channel_received", "Messages that were acknowledged.", "received_total"),
    ("channel_sent", "Messages that were sent to the module.", "sent_total"),
    ("channel_redelivered", "Messages delivered again after a crash.", "redelivered_total"),
    ("channel_unanswered", "Calls of send_sync without an answer in time.", "unanswered_total"),
    ("channel_dead_letters", "Messages that were set aside.", "set_aside_total"),
]

Kind = type[GaugeMetricFamily] | type[CounterMetricFamily]


def _gauge(
    name: str, help_text: str, label: str, rows: Iterable[tuple[str, float | None]]
) -> Metric:
    labels = (label,) if label else ()
    each = [((key,) if label else (), value) for key, value in rows]
    return _family(GaugeMetricFamily, name, help_text, labels, each)


def _family(
    kind: Kind,
    name: str,
    help_text: str,
    labels: Sequence[str],
    rows: Iterable[tuple[Sequence[str], float | None]],
) -> Metric:
    family = kind(f"cloudcore_{name}", help_text, labels=labels)
    for values_of_labels, value in rows:
        if value is not None:
            family.add_metric(values_of_labels, value)
    return family

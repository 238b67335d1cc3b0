"""Metrics of all processes, in Prometheus' text format.

A module defines its metrics with prometheus_client, as everybody does. In its process each value
is a word of a file that is mapped into memory (prometheus_client's multiprocess mode): the
supervisor reads them without asking, also when the module hangs or is dead, and as the files
are named for the module and not for its process, counters go on after a crash.

What the supervisor itself knows is collected when it is asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ipc.files import replace_file

if TYPE_CHECKING:
    from supervisor.admin.status import ModuleStatus
    from supervisor.supervisor import Supervisor

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Owner:
    """Whose the values of this process are; a new one makes prometheus_client open its files."""

    def __init__(self, name: str) -> None:
        self.name = name.replace("_", "-")  # prometheus_client takes the file's name apart at these
        self.files: set[str] = set()
        """what was seen of its files"""

    def __str__(self) -> str:
        return self.name


_owner = _Owner("supervisor")


@contextlib.contextmanager
def kept_in(directory: Path) -> Iterator[None]:
    """Keep the values of all metrics in files while running, without those of an earlier run.

    Metrics that are preloaded begin as the supervisor's; prometheus_client notices by the owner
    that there was a fork, and goes on in files of the new process's.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: _owner)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def belong_to(module: str) -> None:
    """Let this process's metrics be the module's from now on."""
    global _owner  # noqa: PLW0603 - a process has one
    _owner = _Owner(module)


def restore() -> None:
    """Write this process's values again if their files were removed or moved; raises OSError.

    They are still in the memory of this process, which is mapped to the old files. Nothing
    happens until the supervisor has made the directory again.
    """
    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if not directory.exists():
        return
    present = {file.name for file in directory.glob(f"*_{_owner}.db")}
    if lost := _owner.files - present:
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor
                name = descriptor.readlink().name.removesuffix(" (deleted)")
                if name in lost:
                    replace_file(directory / name, descriptor.read_bytes(), sync=False)
        belong_to(_owner.name)
    _owner.files |= present | lost


def forget_gauges(module: str, directory: Path) -> None:
    """Drop what a process that has ended said of its present."""
    for file in directory.glob(f"gauge_*_{_Owner(module)}.db"):
        file.unlink(missing_ok=True)


def render(supervisor: Supervisor) -> bytes:
    """Write all metrics; families are sorted by name."""
    registry = CollectorRegistry()
    registry.register(_Supervised(supervisor))
    MultiProcessCollector(registry, str(supervisor.run_directory.metrics_dir))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class _Supervised(Collector):
    """What the supervisor knows of every module."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def describe(self) -> list[Metric]:
        return []  # so that registering does not collect

    def collect(self) -> Iterator[Metric]:
        status = self._supervisor.status()
        modules = status.modules
        units = self._supervisor.units.values()
        started_at = self._supervisor.started_at
        yield _gauge(
            "up", "Always 1; the label tells the version.", "version", [(status.version, 1)]
        )
        yield _gauge("start_time_seconds", "When cloudcore was started.", "", [("", started_at)])
        up = time.monotonic() - self._supervisor.began
        yield _gauge("uptime_seconds", "Time since then, on the monotonic clock.", "", [("", up)])
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
            "Time from a question to its answer, by the module that was asked.",
            labels=("module",),
        )
        for unit in self._supervisor.units.values():
            asked = unit.line.inbox.statistics().round_trips
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
    ("channel_messages", "Messages that wait or are handled.", "messages"),
    ("channel_bytes", "Bytes that they take.", "bytes"),
    ("channel_capacity_bytes", "Bytes that each sender may have waiting.", "capacity_bytes"),
    ("channel_received", "Messages that were handled to the end.", "received_total"),
    ("channel_sent", "Messages that were sent to the module.", "sent_total"),
    ("channel_redelivered", "Deliveries after a death.", "redelivered_total"),
    ("channel_unanswered", "Questions without an answer in time.", "unanswered_total"),
    ("channel_dead_letters", "Messages that were set aside.", "dead_letters"),
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

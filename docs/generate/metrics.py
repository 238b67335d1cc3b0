"""The metrics: those that modules define, and those that the supervisor collects."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple, cast

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import modules
from docs.generate.markdown import code, prose, table
from supervisor.admin.metrics import Supervised


class Family(NamedTuple):
    """A metric; a histogram's samples have the suffixes `_bucket`, `_sum` and `_count`."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str

    @property
    def samples(self) -> list[str]:
        """The names of its samples."""
        if self.kind != "histogram":
            return [self.name]
        return [f"{self.name}_{suffix}" for suffix in ("bucket", "sum", "count")]


def render() -> str:
    """Return a table of all metrics."""
    rows = [
        (code(f.name), f.kind, ", ".join(map(code, f.labels)), prose(f.help)) for f in families()
    ]
    return table(("metric", "type", "labels", "meaning"), rows)


def families() -> list[Family]:
    """Return all metrics, sorted by name."""
    return sorted({*_of_modules(), *_of_supervisor()})


def _of_modules() -> Iterator[Family]:
    for found in pkgutil.walk_packages(modules.__path__, "modules."):
        if found.name.endswith(".metrics"):
            import_module(found.name)
    collectors: Any = REGISTRY._collector_to_names
    for each in collectors:
        if isinstance(each, MetricWrapperBase) and each._name.startswith("cloudcore_"):
            yield _family(each._name, each._type or "", each._labelnames, each._documentation)


def _of_supervisor() -> Iterator[Family]:
    """Ask the supervisor's collector; without modules it gives families alone."""
    for each in Supervised((), (), version="", started_at=0.0, up=0.0).collect():
        names: tuple[str, ...] = tuple(cast(Any, each)._labelnames)
        yield _family(each.name, each.type, names, each.documentation)


def _family(name: str, kind: str, labels: tuple[str, ...], text: str) -> Family:
    return Family(f"{name}_total" if kind == "counter" else name, kind, tuple(labels), text)

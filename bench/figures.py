"""The figures of a benchmark, published as JSON and as a table."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

OUT = Path(__file__).parent / "out"


class Figure(msgspec.Struct, frozen=True):
    """One measured value: the median of the runs, if there was more than one."""

    case: str
    system: str
    metric: str
    value: float
    unit: str


def median(values: Sequence[float], digits: int = 2) -> float:
    """Return the median, rounded to `digits` digits."""
    return round(statistics.median(values), digits)


def percentile(values: Sequence[float], which: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


def compared(figures: Sequence[Figure], system: str) -> Iterator[Figure]:
    """Yield the figures of every other system as multiples of this one's, if they have a unit."""
    ours = {(f.case, f.metric): f.value for f in figures if f.system == system and f.unit}
    for figure in figures:
        base = ours.get((figure.case, figure.metric))
        if figure.system != system and base:
            times = round(figure.value / base, 2)
            yield Figure(figure.case, figure.system, f"{figure.metric}, of {system}'s", times, "x")


def say(text: str) -> None:
    """Say on stderr what is being measured: a case takes seconds, and a benchmark minutes."""
    print(text, file=sys.stderr, flush=True)


def publish(name: str, how: str, figures: Sequence[Figure]) -> None:
    """Write bench/out/NAME.json and print a table; `how` is its title: the runs and the machine."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(msgspec.to_builtins(figures), indent=1) + "\n")
    table = Table(box=None, pad_edge=False, header_style="bold", title=how, title_justify="left")
    for column in ("case", "metric", "unit"):
        table.add_column(column)
    systems = list(dict.fromkeys(figure.system for figure in figures))
    for system in systems:
        table.add_column(system, justify="right")
    values = {(f.case, f.metric, f.unit, f.system): f.value for f in figures}
    for row in dict.fromkeys((f.case, f.metric, f.unit) for f in figures):
        cells = (values.get((*row, system)) for system in systems)
        table.add_row(*row, *("-" if cell is None else f"{cell:,}" for cell in cells))
    Console(highlight=False, width=None if Console().is_terminal else 160).print(table)
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")

"""`cloudcore top`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from supervisor import client
from supervisor.cli import text_table, words
from supervisor.cli.asking import asking, socket_of, until_interrupted
from supervisor.cli.commands import Command, option
from supervisor.cli.options import Globals, directory_options, output_option

#: IN/s and DONE/s are messages sent to the module and handled by it, WAIT messages in its channel,
#: AGAIN messages delivered again after a crash.
_COLUMNS = ("NAME", "STATE", "PID", "CPU", "RSS", "FDS", "IN/s", "DONE/s", "WAIT", "AGAIN")
#: Columns that a narrow terminal leaves out, the first one first.
_LESS_IMPORTANT = ("FDS", "AGAIN", "PID")


@click.command(cls=Command)
@option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    metavar="SECONDS",
    help="Interval between two samples.",
)
@option("--count", type=click.IntRange(min=1), metavar="N", help="Exit after N samples.")
@output_option("table")
@directory_options
@click.pass_obj
def top(options: Globals, interval: float, count: int | None, output: str) -> None:
    """Show live what every module uses and handles.

    With -o json, each line is one sample.
    """
    socket = socket_of(options)
    with asking():
        samples = until_interrupted(itertools.islice(_samples(socket, interval), count))
        if output == "json":
            for sample in samples:
                click.echo(json.dumps(sample))
        elif sys.stdout.isatty():
            _live(samples)
        else:
            for sample in samples:
                click.echo(_table(sample))


def _live(samples: Iterator[list[dict[str, Any]]]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=True) as live:
        for sample in samples:
            live.update(Text.from_ansi(_table(sample)), refresh=True)


def _samples(socket: Path, interval: float) -> Iterator[list[dict[str, Any]]]:
    """Yield every `interval` seconds what each module did meanwhile; rates are per second."""
    before = client.request(socket, "GET", "/status")
    then = time.monotonic()
    while True:
        time.sleep(interval)
        status, now = client.request(socket, "GET", "/status"), time.monotonic()
        old = {module["name"]: module for module in before["modules"]}
        yield [
            _sample(module, old.get(module["name"], module), now - then)
            for module in status["modules"]
            if module["enabled"]
        ]
        before, then = status, now


def _sample(module: dict[str, Any], old: dict[str, Any], seconds: float) -> dict[str, Any]:
    def rate(counter: str) -> float:
        more: int = module["inbox"][counter] - old["inbox"][counter]
        return round(max(0, more) / seconds, 1)

    kept = ("name", "state", "pid", "cpu_percent", "rss_bytes", "threads", "fds")
    return {name: module[name] for name in kept} | {
        "sent_per_second": rate("sent_total"),
        "handled_per_second": rate("received_total"),
        "waiting": module["inbox"]["messages"],
        "redelivered_total": module["inbox"]["redelivered_total"],
    }


def _table(sample: list[dict[str, Any]]) -> str:
    def paint(column: str, row: Mapping[str, str] | None, text: str) -> str:
        if row is None:
            return click.style(text, bold=True)
        return text_table.state(row["STATE"], text) if column == "STATE" else text

    lines = text_table.align(
        _COLUMNS,
        [_cells(row) for row in sample],
        right=set(_COLUMNS) - {"NAME", "STATE"},
        drop=_LESS_IMPORTANT,
        width=text_table.width_of_output(),
        paint=paint,
    )
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    cpu, rss = row["cpu_percent"], row["rss_bytes"]
    return {
        "NAME": row["name"],
        "STATE": row["state"],
        "PID": words.or_dash(row["pid"]),
        "CPU": words.or_dash(None if cpu is None else f"{cpu:.1f}%"),
        "RSS": words.or_dash(None if rss is None else words.size(rss)),
        "FDS": words.or_dash(row["fds"]),
        "IN/s": f"{row['sent_per_second']:,.0f}",
        "DONE/s": f"{row['handled_per_second']:,.0f}",
        "WAIT": str(row["waiting"]),
        "AGAIN": str(row["redelivered_total"]),
    }

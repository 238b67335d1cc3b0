"""`cloudcore nodes`: the connected edge nodes, of this cloudcore or of all replicas."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from modules.common.text_table import align, terminal_width
from modules.common.times import format_time
from supervisor import client
from supervisor.cli.commands import Command, option
from supervisor.cli.options import output_option

#: Exit status, as of `cloudcore status` and of the action `status` of an LSB init script.
NOT_RUNNING: Final = 3
#: Exit status of `--all` if a replica did not answer.
INCOMPLETE: Final = 4
#: Timeout of `--all` in seconds; each replica has half of it.
_ALL: Final = 30.0

_HEADINGS: Final = (
    *("NODE", "REPLICA", "CONNECTED", "ADDRESS", "CERTIFICATE", "EXPIRES", "PROTOCOL"),
    *("IN", "OUT", "QUEUE", "KEEPALIVE"),
)
#: Columns that are left out on a narrow terminal, in this order.
_LESS_IMPORTANT: Final = ("CERTIFICATE", "PROTOCOL", "EXPIRES", "OUT", "IN", "ADDRESS", "KEEPALIVE")


def _run_dir(context: click.Context, _: click.Parameter, value: Path | None) -> Path:
    """Return the run directory of the option, or else that of the configuration."""
    if value is None and context.obj is None:
        raise click.UsageError("no run directory given; use --run-dir")
    return value or Path(context.obj.paths().run_dir)


@click.command("nodes", cls=Command)
@click.argument("names", nargs=-1, metavar="[NODE]...", help="Show only these nodes.")
@option("-a", "--all", "every", is_flag=True, help="Ask all replicas, not this cloudcore alone.")
@output_option("table")
@option(
    "--run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_run_dir,
    help="cloudcore's run directory, which holds its sockets.",
)
def nodes(names: tuple[str, ...], every: bool, output: str, run_dir: Path) -> None:
    """Show the edge nodes that are connected.

    A narrow terminal shows fewer columns; -o json has all of them. Of a replica that does not
    answer, --all shows the nodes that it holds by their Leases.

    Exit status: 0, 3 if no cloudhub is running, or 4 if a replica did not answer.
    """
    faults: list[str] = []
    try:
        rows = _own_rows(run_dir)
        if every:
            others = _ask(run_dir)
            faults = [
                f"replica {each['replica']}: {each['error']}" for each in others if "error" in each
            ]
            rows += [row for each in others for row in each["nodes"]]
    except client.NotRunning as error:
        click.echo(str(error), err=True)
        sys.exit(NOT_RUNNING)
    except client.AdminError as error:
        raise click.ClickException(str(error)) from error
    rows = sorted(
        (row for row in rows if not names or row["node"] in names), key=lambda row: row["node"]
    )
    if output == "json":
        click.echo(json.dumps([_document(row) for row in rows], indent=2))
    elif rows:
        click.echo(_table(rows))
    else:
        click.echo("no node is connected" if not names else "not connected", err=True)
    for fault in faults:
        click.echo(f"{fault} (its nodes are shown by their Leases)", err=True)
    sys.exit(INCOMPLETE if faults else 0)


def _ask(run_dir: Path) -> list[dict[str, Any]]:
    """Have the first process ask the other replicas."""
    answers: list[dict[str, Any]] = client.request(
        run_dir / "cloudhub.sock", "GET", "/replicas", timeout=_ALL
    )
    return answers


def _own_rows(run_dir: Path) -> list[dict[str, Any]]:
    """Ask every process; one that is restarting has no sessions."""
    answers = []
    for path in (*run_dir.glob("cloudhub.sock"), *run_dir.glob("cloudhub-*.sock")):
        try:
            answers.append(client.request(path, "GET", "/nodes", timeout=30.0))
        except client.NotRunning:
            continue
    if not answers:
        raise client.NotRunning(f"cloudcore is not running: no cloudhub listens in {run_dir}")
    return [row for rows in answers for row in rows]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its times in the format of `cloudcore status`."""
    if "since" not in row:
        return row
    certificate = row["certificate"] | {"expires": _timestamp(row["certificate"]["expires"])}
    times = {name: _timestamp(row[name]) for name in ("since", "keepalive")}
    return row | {"certificate": certificate} | times


def _timestamp(seconds: float) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC), "milliseconds")


def _table(rows: list[dict[str, Any]]) -> str:
    now = time.time()
    cells = [_cells(row, now) for row in rows]
    if not any(row.get("replica") for row in rows):
        cells = [(node, *rest) for node, _, *rest in cells]
        headings = tuple(each for each in _HEADINGS if each != "REPLICA")
    else:
        headings = _HEADINGS
    return align(headings, cells, drop=_LESS_IMPORTANT, width=terminal_width())


def _cells(row: dict[str, Any], now: float) -> tuple[str, ...]:
    known = row["node"], row.get("replica") or "-"
    if "since" not in row:  # all that the Lease says
        return *known, *["-"] * (len(_HEADINGS) - len(known))
    certificate = row["certificate"]
    waiting = f"{row['queue_messages']} ({row['queue_bytes']} B)" if row["queue_messages"] else "0"
    return (
        *known,
        _span(now - row["since"]),
        row["address"],
        certificate["common_name"],
        _span(certificate["expires"] - now),
        row["protocol"] or "-",
        str(row["messages_in"]),
        str(row["messages_out"]),
        waiting,
        f"{_span(now - row['keepalive'])} ago",
    )


def _span(seconds: float) -> str:
    """Format a duration in its largest unit, or in two if the second one matters."""
    if seconds < 0:
        return f"-{_span(-seconds)}"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"

"""`cloudcore nodes`: the connected edge nodes, of this cloudcore or of all replicas."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from modules.common.times import format_time
from supervisor import client
from supervisor.cli import words
from supervisor.cli.asking import asking
from supervisor.cli.commands import Command, option
from supervisor.cli.options import Globals, output_option, run_dir_option
from supervisor.cli.text_table import align, width_of_output

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


@click.command("nodes", cls=Command)
@click.argument("names", nargs=-1, metavar="[NODE]...", help="Show only these nodes.")
@option("-a", "--all", "every", is_flag=True, help="Ask all replicas, not this cloudcore alone.")
@output_option("table")
@run_dir_option
@click.pass_obj
def nodes(options: Globals, names: tuple[str, ...], every: bool, output: str) -> None:
    """Show the edge nodes that are connected.

    A narrow terminal shows fewer columns; -o json has all of them. Of a replica that does not
    answer, --all shows the nodes that it holds by their Leases.

    Exit status: 0, 3 if no cloudhub is running, or 4 if a replica did not answer.
    """
    faults: list[str] = []
    run_dir = options.paths().run_dir
    with asking():
        rows = _own_rows(run_dir)
        if every:
            others = _ask(run_dir)
            faults = [
                f"replica {each['replica']}: {each['error']}" for each in others if "error" in each
            ]
            rows += [row for each in others for row in each["nodes"]]
    rows = sorted(
        (row for row in rows if not names or row["node"] in names), key=lambda row: row["node"]
    )
    if output == "json":
        click.echo(json.dumps([_document(row) for row in rows], indent=2))
    else:
        _show(rows, names)
    for fault in faults:
        click.echo(f"{fault} (its nodes are shown by their Leases)", err=True)
    sys.exit(INCOMPLETE if faults else 0)


def _show(rows: list[dict[str, Any]], names: Collection[str]) -> None:
    if rows:
        click.echo(_table(rows))
    elif not names:
        click.echo("no node is connected", err=True)
    for name in sorted({*names} - {row["node"] for row in rows}):
        click.echo(f"node {name} is not connected", err=True)


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
        raise client.NotRunning(_why_silent(run_dir))
    return [row for rows in answers for row in rows]


def _why_silent(run_dir: Path) -> str:
    """Return why no process of CloudHub answers; raises NotRunning if cloudcore does not run."""
    status = client.request(run_dir / "admin.sock", "GET", "/status")
    for module in status["modules"]:
        if module["name"] == "cloudhub":
            reason = f" ({words.printable(module['reason'])})" if module["reason"] else ""
            return f"cloudhub is {module['state']}{reason}"
    return "this cloudcore has no cloudhub"


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
    several = any(row.get("replica") for row in rows)
    columns = [each for each in _HEADINGS if several or each != "REPLICA"]
    now = time.time()
    cells = [dict(zip(_HEADINGS, _cells(row, now), strict=True)) for row in rows]
    return "\n".join(align(columns, cells, drop=_LESS_IMPORTANT, width=width_of_output()))


def _cells(row: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return the texts of a row, in the order of the headings."""
    known = row["node"], row.get("replica") or "-"
    if "since" not in row:  # all that the Lease says
        return *known, *["-"] * (len(_HEADINGS) - len(known))
    certificate = row["certificate"]
    waiting = f"{row['queue_messages']} ({row['queue_bytes']} B)" if row["queue_messages"] else "0"
    return (
        *known,
        words.duration(now - row["since"]),
        row["address"],
        certificate["common_name"],
        words.duration(certificate["expires"] - now),
        row["protocol"] or "-",
        str(row["messages_in"]),
        str(row["messages_out"]),
        waiting,
        f"{words.duration(now - row['keepalive'])} ago",
    )

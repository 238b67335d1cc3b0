"""`cloudcore crashes`."""

from __future__ import annotations

import time
from typing import Any

import click
import cloup

from supervisor.cli import words
from supervisor.cli.asking import module_argument, output_option, print_json
from supervisor.cli.options import Globals, global_options


@cloup.command()
@module_argument
@cloup.option("--id", "report_id", metavar="ID", help="Show one report whole.")
@cloup.option("--last", is_flag=True, help="Show the newest report whole.")
@output_option("table")
@global_options
@click.pass_obj
def crashes(
    said: Globals, module: str | None, report_id: str | None, last: bool, output: str
) -> None:
    """List the crash reports.

    Those of one module or of all, the oldest first. They are files in the data directory, and
    can be read when nothing is running, too.
    """
    from supervisor.crashes import CrashReports, UnknownReport

    reports = CrashReports(said.paths().crashes_dir, keep=0)
    try:
        found = [reports.get(report_id)] if report_id else reports.reports(module or "")
    except UnknownReport as error:
        raise click.ClickException(str(error)) from error
    if last:
        found = found[-1:]
    if last and not found:
        raise click.ClickException("no crash reports")
    import msgspec

    documents: list[dict[str, Any]] = msgspec.to_builtins(found)
    if output == "json":
        print_json(documents)
    elif report_id or last:
        for document in documents:
            _print_whole(document)
    else:
        _print_table(documents)


def _print_table(reports: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from supervisor.cli import table

    if not reports:
        click.echo("no crash reports")
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("ID", "AGE", "UP", "HOW", "REASON"):
        drawn.add_column(column, no_wrap=column != "REASON", overflow="fold")
    for report in reports:
        drawn.add_row(
            report["id"],
            words.duration(max(0.0, time.time() - report["at"])),
            words.duration(report["uptime_seconds"]),
            report["signal"] or f"exit {report['code']}",
            words.printable(report["reason"]),
        )
    table.console().print(drawn)
    click.echo("`cloudcore crashes --last` or `--id ID` shows one whole.")


def _print_whole(report: dict[str, Any]) -> None:

    how = report["signal"] or f"exit status {report['code']}"
    facts = {
        "id": report["id"],
        "module": f"{report['module']}, process {report['pid']}",
        "when": f"{words.when(report['at'])}, {report['state']}, "
        f"up {words.duration(report['uptime_seconds'])}",
        "ended": how
        + (", killed by the kernel for want of memory" if report["oom_killed"] else ""),
        "reason": words.printable(report["reason"]),
    }
    for name, text in facts.items():
        click.echo(f"{name + ':':<8} {text}")
    for held in report["in_hand"]:
        click.echo(
            f"in hand: {held['operation']} {held['resource']} from {held['source']}, "
            f"message {held['id']}, delivery {held['deliveries']}"
        )
    if report["traceback"]:
        click.echo(f"\n{report['traceback'].rstrip()}")
    if report["stderr"]:
        click.echo("\nits last lines:")
        for line in report["stderr"]:
            click.echo(f"  {words.printable(line)}")
    click.echo()

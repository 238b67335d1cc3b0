"""`cloudcore crashes`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from supervisor.cli import words
from supervisor.cli.asking import from_running, module_argument, print_json
from supervisor.cli.commands import Command, option
from supervisor.cli.options import Globals, directory_options, output_option
from supervisor.cli.text_table import align, width_of_output

if TYPE_CHECKING:
    from supervisor.telemetry.crash_reports import CrashReports


@click.command(cls=Command)
@module_argument
@option("--id", "report_id", metavar="ID", help="Show all of one report.")
@option("--last", is_flag=True, help="Show all of the newest report.")
@output_option("table")
@directory_options
@click.pass_obj
def crashes(
    options: Globals, module: str | None, report_id: str | None, last: bool, output: str
) -> None:
    """Show the crash reports.

    Those of MODULE, or of all modules, oldest first. They come from the running cloudcore or, if
    none is running, from the files in the data directory.
    """
    documents = _one(options, report_id) if report_id else _all(options, module or "")
    if last:
        documents = documents[-1:]
    if last and not documents:
        raise click.ClickException("no crash reports")
    if output == "json":
        print_json(documents)
    elif report_id or last:
        for document in documents:
            _print_whole(document)
    else:
        _print_table(documents)


def _one(options: Globals, report_id: str) -> list[dict[str, Any]]:
    found = from_running(options, "GET", f"/crashes/{quote(report_id, safe='')}")
    if found is None:
        from msgspec import to_builtins

        from supervisor.telemetry.crash_reports import UnknownReport

        try:
            found = to_builtins(_files(options).get(report_id))
        except UnknownReport as error:
            raise click.ClickException(str(error)) from error
    return [found]


def _all(options: Globals, module: str) -> list[dict[str, Any]]:
    found = from_running(options, "GET", f"/crashes?{urlencode({'module': module})}")
    if found is None:
        from msgspec import to_builtins

        found = to_builtins(_files(options).reports(module))
    return list(found)


def _files(options: Globals) -> CrashReports:
    from supervisor.telemetry.crash_reports import CrashReports

    return CrashReports(options.paths().crashes_dir, keep=0)


def _print_table(reports: list[dict[str, Any]]) -> None:
    if not reports:
        click.echo("no crash reports")
        return
    rows = [
        {
            "ID": report["id"],
            "AGE": words.duration(max(0.0, time.time() - report["at"])),
            "UP": words.duration(report["uptime_seconds"]),
            "HOW": report["signal"] or f"exit {report['code']}",
            "REASON": words.printable(report["reason"]),
        }
        for report in reports
    ]
    columns = ("ID", "AGE", "UP", "HOW", "REASON")
    for line in align(columns, rows, wrapped="REASON", width=width_of_output()):
        click.echo(line)
    click.echo("`cloudcore crashes --last` or `--id ID` shows all of one report.")


def _print_whole(report: dict[str, Any]) -> None:
    how = report["signal"] or f"exit status {report['code']}"
    facts = {
        "id": report["id"],
        "module": f"{report['module']}, process {report['pid']}",
        "when": f"{words.when(report['at'])}, {report['state']}, "
        f"up {words.duration(report['uptime_seconds'])}",
        "ended": how + (", killed by the kernel: out of memory" if report["oom_killed"] else ""),
        "reason": words.printable(report["reason"]),
    }
    for name, text in facts.items():
        click.echo(f"{name + ':':<8} {text}")
    for held in report["in_hand"]:
        click.echo(
            f"in flight: {held['operation']} {held['resource']} from {held['source']}, "
            f"message {held['id']}, delivery {held['deliveries']}"
        )
    if report["traceback"]:
        click.echo(f"\n{report['traceback'].rstrip()}")
    if report["stderr"]:
        click.echo("\nits last lines:")
        for line in report["stderr"]:
            click.echo(f"  {words.printable(line)}")
    click.echo()

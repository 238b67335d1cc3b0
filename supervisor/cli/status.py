"""`cloudcore status`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from supervisor import client
from supervisor.cli import status_document, status_table
from supervisor.cli.asking import socket_of
from supervisor.cli.commands import Command, option, option_group
from supervisor.cli.options import Globals, directory_options, output_option
from supervisor.cli.text_table import width_of_output


@click.command(cls=Command)
@option_group(
    "Output",
    output_option(*("table", "json", "yaml"), help="Output format; json and yaml have all fields."),
    option("-w", "--watch", is_flag=True, help="Show it every --interval, until Ctrl-C."),
    option(
        "--interval",
        type=click.FloatRange(min=0.1),
        default=1.0,
        metavar="SECONDS",
        help="Interval of --watch.",
    ),
)
@directory_options
@click.pass_obj
def status(options: Globals, output: str, watch: bool, interval: float) -> None:
    """Show the state of every module.

    Exit status: 0 if all enabled modules are ready, 1 if one is not, 3 if cloudcore is not running,
    4 if its state is unknown.
    """
    socket = socket_of(options)
    if not watch:
        sys.exit(status_document.show(socket, output))
    try:
        if output == "table" and sys.stdout.isatty():
            document = _watch_live(socket, interval)
        else:
            document = _watch_printing(socket, interval, output)
    except (client.NotRunning, client.AdminError) as error:
        sys.exit(status_document.say_missing(error))
    sys.exit(status_document.exit_status(document))


def _watch_printing(socket: Path, interval: float, output: str) -> dict[str, Any]:
    """Print a document every `interval` seconds, as a JSON line, a YAML document or a table."""
    document: dict[str, Any] = {"state": "starting"}
    try:
        for document in _poll(socket, interval):
            click.echo(status_document.text(document, output, one_line=True))
    except KeyboardInterrupt:
        return document
    raise AssertionError("polling ends only by an exception")


def _watch_live(socket: Path, interval: float) -> dict[str, Any]:
    """Redraw one table in place until interrupted, and leave the last one on the terminal."""
    from supervisor.cli.screen import Screen

    document: dict[str, Any] = {}
    try:
        with Screen() as screen:
            for document in _poll(socket, interval):
                screen.draw(status_table.render(document, width_of_output()).split("\n"))
    except KeyboardInterrupt:
        if document:
            click.echo(status_table.render(document, width_of_output()))
        return document or {"state": "starting"}
    raise AssertionError("polling ends only by an exception")


def _poll(socket: Path, interval: float) -> Iterator[dict[str, Any]]:
    while True:
        yield client.request(socket, "GET", "/status")
        time.sleep(interval)

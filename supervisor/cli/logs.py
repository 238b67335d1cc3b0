"""`cloudcore logs` and `cloudcore events`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import click

from supervisor import client
from supervisor.cli.asking import asking, module_argument, socket_of, until_interrupted
from supervisor.cli.commands import Command, option
from supervisor.cli.options import Globals, directory_options, output_option

_follow_option = option("-f", "--follow", is_flag=True, help="Keep showing new lines until Ctrl-C.")


@click.command(cls=Command)
@module_argument
@_follow_option
@option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=200,
    metavar="N",
    help="Number of lines to show.",
)
@output_option("text")
@directory_options
@click.pass_obj
def logs(options: Globals, module: str | None, follow: bool, lines: int, output: str) -> None:
    """Show the last lines that modules have written.

    Without MODULE, the lines of all modules and of the supervisor. 256 KiB of each are kept;
    everything is also written to the supervisor's stderr.
    """
    socket = socket_of(options)
    query = {"lines": lines} | ({"module": module} if module else {})
    with asking():
        if follow:
            target = f"/logs?{urlencode(query | {'follow': 'true'})}"
            for line in until_interrupted(client.stream(socket, target)):
                _print_line(line, module, output)
        else:
            text = client.text(socket, f"/logs?{urlencode(query)}")
            for line in text.split("\n")[:-1]:
                _print_line(line, module, output)


@click.command(cls=Command)
@module_argument
@_follow_option
@output_option("text")
@directory_options
@click.pass_obj
def events(options: Globals, module: str | None, follow: bool, output: str) -> None:
    """Show the state changes of modules.

    The last 1,000 are kept. With -o json, each line is one state change.
    """
    socket = socket_of(options)
    query = {"module": module} if module else {}
    with asking():
        if follow:
            target = f"/events?{urlencode(query | {'follow': 'true'})}"
            for line in until_interrupted(client.stream(socket, target)):
                _print_event(json.loads(line), output)
        else:
            for event in client.request(socket, "GET", f"/events?{urlencode(query)}"):
                _print_event(event, output)


def _print_line(line: str, module: str | None, output: str) -> None:
    if output == "json":
        named = {"module": module} if module else {}
        click.echo(json.dumps(named | {"line": line}, ensure_ascii=False))
    else:
        click.echo(line)


def _print_event(event: dict[str, Any], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    from supervisor.cli.words import printable, when

    reason = f" ({printable(event['reason'])})" if event["reason"] else ""
    pid = f" [{event['pid']}]" if event["pid"] else ""
    click.echo(
        f"{when(event['at'])} {event['module']}{pid}: {event['old']} -> {event['new']}{reason}"
    )

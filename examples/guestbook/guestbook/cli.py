"""`cloudcore guests`."""

from __future__ import annotations

import click

from supervisor import client
from supervisor.cli.asking import asking
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, directory_options


@click.command(cls=Command)
@directory_options
@click.pass_obj
def guests(options: Globals) -> None:
    """Print how many guests there have been."""
    with asking():
        status = client.request(options.paths().admin_socket, "GET", "/status")
    for module in status["modules"]:
        if module["name"] == "guestbook":
            click.echo(module["details"].get("guests", "not known"))

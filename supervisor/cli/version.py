"""`cloudcore version`."""

from __future__ import annotations

import json
import platform

import click

from supervisor.cli.commands import Command
from supervisor.cli.options import output_option
from supervisor.version import current


@click.command(cls=Command)
@output_option("text", help="Output format.")
def version(output: str) -> None:
    """Print the versions of cloudcore, Python and the system."""
    facts = {
        "version": current(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if output == "json":
        click.echo(json.dumps(facts))
    else:
        click.echo(f"cloudcore {facts['version']}\nPython {facts['python']}\n{facts['platform']}")

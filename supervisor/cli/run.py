"""`cloudcore run`."""

from __future__ import annotations

import sys

import click

from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, global_options


@click.command(cls=Command)
@global_options
@click.pass_obj
def run(options: Globals) -> None:
    """Run cloudcore in the foreground, until SIGINT or SIGTERM.

    Starts the modules that modules.enabled names, each in a process of its own, and restarts one
    that crashes. Without a cluster in [kubernetes] they include an embedded API server. Exit
    status: 0 after a shutdown in order, 1 if cloudcore cannot run, 2 if the configuration has
    faults.
    """
    import gc

    from supervisor.host.paths import PathError

    gc.disable()  # until the fleet has been started: the imports are a fifth faster without it
    configuration = options.load()
    paths = options.paths()
    try:
        paths.create()
    except PathError as error:
        raise click.ClickException(str(error)) from error
    from supervisor.main import run as supervise

    sys.exit(supervise(configuration, paths, options.load_again))

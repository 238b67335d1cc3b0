"""`cloudcore run`."""

from __future__ import annotations

import sys

import click
import cloup

from supervisor.cli.options import Globals, global_options


@cloup.command()
@global_options
@click.pass_obj
def run(options: Globals) -> None:
    """Run cloudcore in the foreground, until SIGINT or SIGTERM.

    Starts the modules that modules.enabled names, each one in a process of its own, and starts
    again the one that dies. Without a cluster in [kubernetes] an embedded API server is one of
    them. Exit status: 0 after a shutdown in order, 1 if it cannot run, 2 if the configuration
    is faulty.
    """
    from supervisor.host.paths import PathError

    configuration = options.load()
    paths = options.paths()
    try:
        paths.create()
    except PathError as error:
        raise click.ClickException(str(error)) from error
    from supervisor.main import run as supervise

    sys.exit(supervise(configuration, paths, options.load_again))

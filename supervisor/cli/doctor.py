"""`cloudcore doctor`."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from supervisor.cli.asking import timeout_option
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, global_options, output_option


@click.command("doctor", cls=Command)
@output_option("text")
@timeout_option(15.0, help="Deadline of each check; all run at once.")
@global_options
@click.pass_context
def doctor(context: click.Context, output: str, timeout: float) -> None:
    """Check all that cloudcore needs, and say how to mend what is wrong.

    That is the configuration, the host (directories, ports, open files, clock), the running
    cloudcore if there is one, certificates, the Kubernetes API with rights and CRDs, and the
    versions of edges. Nothing is changed. Without --config and --set the configuration is the one
    that the running cloudcore was started with.

    Each line has a mark: ok, note (nothing has to be done), wrong (with the command that mends it),
    or unclear (it could not be checked). Exit status: 0 if all is well, 1 if a line is wrong or
    unclear.
    """
    from supervisor.cli.command_lines import command_line
    from supervisor.cli.findings import report
    from supervisor.client import AdminError
    from supervisor.doctor.examination import sections
    from supervisor.doctor.running import RunningCloudcore

    options = context.ensure_object(Globals)
    root = context.find_root().command
    assert isinstance(root, click.Group)
    running = RunningCloudcore(options.paths())
    with suppress(AdminError):  # it has a finding of its own
        options.take_sources(running.status or {})
    found = sections(
        options.load_again,
        str(options.config or "the default configuration"),
        options.paths(),
        running,
        lambda *words: command_line(root, options, *words),
    )
    sys.exit(report(found, output, timeout))

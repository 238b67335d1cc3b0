"""`cloudcore stop`."""

from __future__ import annotations

import contextlib
import os
import select

import click
import cloup

from supervisor.cli.options import Globals, global_options


@cloup.command()
@cloup.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    metavar="SECONDS",
    help="How long to wait for it to end.",
)
@global_options
@click.pass_obj
def stop(said: Globals, timeout: float) -> None:
    """Stop cloudcore in order, and wait until it has ended.

    Exit status: 0 when it has ended or was not running, 1 when it still runs.
    """
    from supervisor import client

    try:
        answer = client.request(said.paths().admin_socket, "POST", "/stop")
    except client.NotRunning as error:
        click.echo(str(error), err=True)
        return
    except client.AdminError as error:
        raise click.ClickException(str(error)) from error
    pid = int(answer["pid"])
    if not _ended(pid, timeout):
        raise click.ClickException(
            f"process {pid} has not ended within {timeout:g} s; `cloudcore status` shows what it "
            "waits for, and a second SIGTERM ends it at once"
        )
    click.echo("stopped")


def _ended(pid: int, timeout: float) -> bool:
    """Wait for another's process to end; a pidfd is readable then, and no other process's."""
    with contextlib.ExitStack() as stack:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        stack.callback(os.close, pidfd)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

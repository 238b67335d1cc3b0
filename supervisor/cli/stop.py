"""`cloudcore stop`."""

from __future__ import annotations

import contextlib
import os
import select
from typing import Any

import click

from supervisor import client
from supervisor.cli.asking import (
    asking,
    module_arguments,
    print_json,
    socket_of,
    timeout_option,
)
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, directory_options, output_option
from supervisor.cli.progress import Progress


@click.command(cls=Command)
@module_arguments(required=False)
@timeout_option(60.0)
@output_option("text")
@directory_options
@click.pass_obj
def stop(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Stop cloudcore in order, and wait until it has exited.

    With MODULE, stop only these modules until they are started again; meanwhile sending to them is
    an error. Exit status: 0 if all is stopped or was not running, 1 if not.
    """
    if modules:
        from supervisor.cli.control import verb

        with asking():
            socket = socket_of(options)
            done = []
            for module in modules:
                with Progress(f"waiting for module {module} to stop", output):
                    done.append(verb(socket, "stop", module, timeout))
        _print_stopped(done, output)
        if output != "json":
            _print_waiting(done)
        return
    try:
        answer = client.request(socket_of(options), "POST", "/stop")
    except client.NotRunning as error:
        click.echo(str(error), err=True)
        return
    except client.AdminError as error:
        raise click.ClickException(str(error)) from error
    pid = int(answer["pid"])
    with Progress(f"waiting for cloudcore, process {pid}, to exit", output):
        ended = _ended(pid, timeout)
    if not ended:
        raise click.ClickException(
            f"process {pid} did not exit within {timeout:g} s; `cloudcore status` shows which "
            "module still runs, and a second SIGTERM kills it"
        )
    _print_stopped({"pid": pid}, output)


def _print_stopped(stopped: Any, output: str) -> None:
    if output == "json":
        print_json(stopped)
    else:
        click.echo("stopped")


def _print_waiting(stopped: list[dict[str, Any]]) -> None:
    for module in stopped:
        if waiting := module["inbox"]["messages"]:
            name, noun = module["name"], "message" if waiting == 1 else "messages"
            click.echo(f"{name}: {waiting} {noun} in its channel, kept until it is started")


def _ended(pid: int, timeout: float) -> bool:
    """Wait until a process has exited; return whether it did within `timeout` seconds."""
    with contextlib.ExitStack() as stack:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        stack.callback(os.close, pidfd)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

"""`cloudcore stop`."""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import Any, Final

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

#: Seconds between two looks at what still runs.
_LOOK: Final = 1.0


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
    with Progress(f"waiting for cloudcore, process {pid}, to exit", output) as progress:
        _wait(pid, timeout, socket_of(options), progress)
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


def _wait(pid: int, timeout: float, socket: Path, progress: Progress) -> None:
    """Wait until the process has exited, and say meanwhile for which module it waits."""
    text, deadline = progress.text, time.monotonic() + timeout
    while not _ended(pid, min(_LOOK, max(0.0, deadline - time.monotonic()))):
        which = _stopping(socket)
        if time.monotonic() >= deadline:
            raise click.ClickException(
                f"process {pid} did not exit within {timeout:g} s{which}; `cloudcore status` shows "
                "which module still runs, and a second SIGTERM kills it"
            )
        progress.text = text + which


def _stopping(socket: Path) -> str:
    """Return which modules are stopping, as the end of a sentence; empty if that is not known."""
    try:
        status = client.request(socket, "GET", "/status", timeout=_LOOK)
    except (client.NotRunning, client.AdminError):
        return ""
    names = [each["name"] for each in status.get("modules", ()) if each["state"] == "stopping"]
    return f": {', '.join(names)} is stopping" if names else ""


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

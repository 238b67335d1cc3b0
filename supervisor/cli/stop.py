"""`cloudcore stop`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from supervisor import client
from supervisor.cli.asking import asking, module_arguments, print_json, socket_of, timeout_option
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, directory_options, output_option
from supervisor.cli.progress import Progress

#: Seconds between two looks at what still runs.
_LOOK: Final = 1.0
#: Seconds until state changes are followed, and for the last ones of a process that has exited.
_FOLLOWED: Final = 2.0


@click.command(cls=Command)
@module_arguments(required=False)
@timeout_option(60.0)
@output_option("text")
@directory_options
@click.pass_obj
def stop(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Stop cloudcore in order, and wait until it has exited.

    With MODULE, stop only these modules until they are started again; meanwhile sending to them is
    an error. A module that had to be killed is named. Exit status: 0 if all is stopped, even so, or
    was not running, 1 if not.
    """
    if modules:
        from supervisor.cli.control import verb

        with asking():
            socket = socket_of(options)
            before = _last_change(socket)
            done = []
            for module in modules:
                with Progress(f"waiting for module {module} to stop", output):
                    done.append(verb(socket, "stop", module, timeout))
            changes = client.request(socket, "GET", f"/events?since={before}")
        _print_stopped(done, output)
        if output != "json":
            _print_waiting(done)
            _print_disorders(_disorders(each for each in changes if each["module"] in modules))
        return
    followed = _StateChanges(socket_of(options))
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
    disorders = _disorders(followed.changes())
    _print_stopped({"pid": pid, "not_in_order": disorders}, output)
    if output != "json":
        _print_disorders(disorders)


class _StateChanges:
    """The state changes of a cloudcore from now until it exits; afterwards it cannot be asked."""

    def __init__(self, socket: Path) -> None:
        self._lines: list[str] = []
        self._follows = threading.Event()
        self._thread = threading.Thread(target=self._collect, args=(socket,), daemon=True)
        self._thread.start()
        self._follows.wait(_FOLLOWED)

    def changes(self) -> list[dict[str, Any]]:
        """Return them, once cloudcore has exited."""
        self._thread.join(_FOLLOWED)
        return [json.loads(line) for line in self._lines[1:]]

    def _collect(self, socket: Path) -> None:
        try:
            since = max(0, _last_change(socket) - 1)
            # The last one comes at once: then those that follow come, too.
            for line in client.stream(socket, f"/events?since={since}&follow=true"):
                self._lines.append(line)
                self._follows.set()
        except (client.NotRunning, client.AdminError, LookupError, TypeError):
            pass  # it stops all the same
        finally:
            self._follows.set()


def _last_change(socket: Path) -> int:
    """Return the number of the last state change; raises as `client.request` does."""
    past = client.request(socket, "GET", "/events")
    return int(past[-1]["number"]) if past else 0


def _disorders(changes: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return what went wrong by module, of modules that did not stop in order."""
    return {
        change["module"]: change["reason"]
        for change in changes
        if (change["old"], change["new"]) == ("stopping", "stopped") and change["reason"]
    }


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


def _print_disorders(disorders: dict[str, str]) -> None:
    for name, reason in disorders.items():
        see = f"what it was doing then was cut off, see `cloudcore crashes {name} --last`"
        click.echo(f"{name} did not stop in order: {reason}; {see}", err=True)


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

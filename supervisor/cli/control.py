"""`cloudcore start`, `restart`, `enable`, `disable` and `reload`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from supervisor import client
from supervisor.cli.asking import (
    EXIT_FAILED,
    asking,
    module_arguments,
    print_json,
    socket_of,
    timeout_option,
)
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, directory_options, output_option
from supervisor.cli.progress import Progress


def _command(function: Callable[..., None]) -> click.Command:
    """Make a command that acts on modules."""
    options = (module_arguments(), timeout_option(60.0), output_option("text"), directory_options)
    for option in reversed(options):
        function = option(function)
    return click.command(cls=Command)(click.pass_obj(function))


@_command
def start(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Start modules that are stopped or have failed, and wait until they are ready.

    Exit status: 0 if all of them are ready, 1 if one is not, 3 if cloudcore is not running.
    """
    _all(options, "start", modules, timeout, output)


@_command
def restart(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Replace the process of modules, and wait until they are ready.

    Meanwhile messages and connections wait; other modules are not affected. Exit status: 0 if all
    of them are ready, 1 if one is not, 3 if cloudcore is not running.
    """
    _all(options, "restart", modules, timeout, output)


@_command
def enable(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Run modules as if modules.enabled named them.

    This lasts until the next reload or restart of cloudcore.
    """
    _switch(options, "enable", modules, timeout, output)


@_command
def disable(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Stop modules as if modules.enabled did not name them.

    They stop and clean up. This lasts until the next reload or restart of cloudcore.
    """
    _switch(options, "disable", modules, timeout, output)


@click.command(cls=Command)
@timeout_option(120.0)
@output_option("text")
@directory_options
@click.pass_obj
def reload(options: Globals, timeout: float, output: str) -> None:
    """Make the running cloudcore read its configuration again.

    Newly enabled modules start, modules no longer enabled stop and clean up, changed ones restart,
    and unchanged ones keep their process. A configuration with faults changes nothing.
    """
    waiting = Progress("waiting for modules to be ready with the configuration", output)
    with asking(), waiting:
        changes = client.request(socket_of(options), "POST", "/reload", timeout=timeout)
    _report_changes(changes, output)


def verb(socket: Path, name: str, module: str, timeout: float) -> dict[str, Any]:
    """Send a verb for a module; return the module's part of the status document."""
    target = f"/modules/{quote(module, safe='')}/{name}"
    answer: dict[str, Any] = client.request(socket, "POST", target, timeout=timeout)
    return answer


def _all(
    options: Globals, name: str, modules: tuple[str, ...], timeout: float, output: str
) -> None:
    socket = socket_of(options)
    done = []
    for module in modules:
        with asking(), Progress(f"waiting for module {module} to be ready", output):
            try:
                done.append(verb(socket, name, module, timeout))
            except client.Refused as error:
                click.echo(f"Error: {error}", err=True)
                continue
        if output != "json":
            _print_state(done[-1])
    if output == "json":
        print_json(done)
    if len(done) < len(modules) or any(module["state"] != "ready" for module in done):
        sys.exit(EXIT_FAILED)


def _print_state(module: dict[str, Any]) -> None:
    reason = f" ({module['reason']})" if module["reason"] else ""
    pid = f", process {module['pid']}" if module["pid"] else ""
    click.echo(f"{module['name']}: {module['state']}{reason}{pid}")


def _switch(
    options: Globals, name: str, modules: tuple[str, ...], timeout: float, output: str
) -> None:
    socket = socket_of(options)
    for module in modules:
        aim = "be ready" if name == "enable" else "stop"
        with asking(), Progress(f"waiting for module {module} to {aim}", output):
            changes = verb(socket, name, module, timeout)
        _report_changes(changes, output)


def _report_changes(changes: dict[str, list[str]], output: str) -> None:
    if output == "json":
        print_json(changes)
    else:
        _print_changes(changes)
    if changes["not_ready"]:
        sys.exit(EXIT_FAILED)


def _print_changes(changes: dict[str, list[str]]) -> None:
    for what in ("started", "restarted", "stopped", "unchanged"):
        if changes[what]:
            click.echo(f"{what}: {', '.join(changes[what])}")
    if changes["not_ready"]:
        click.echo(
            f"not ready: {', '.join(changes['not_ready'])}; see `cloudcore status`", err=True
        )
    if changes["needs_restart"]:
        keys = ", ".join(changes["needs_restart"])
        click.echo(f"takes effect only when cloudcore is restarted: {keys}", err=True)

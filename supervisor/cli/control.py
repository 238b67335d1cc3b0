"""`cloudcore start`, `restart`, `enable`, `disable` and `reload`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import cloup

from supervisor import client
from supervisor.cli.asking import (
    EXIT_FAILED,
    asking,
    module_arguments,
    output_option,
    print_json,
    socket_of,
    timeout_option,
)
from supervisor.cli.options import Globals, directory_options


def _command(function: Callable[..., None]) -> click.Command:
    """Make a command that does something with modules."""
    options = (module_arguments(), timeout_option(60.0), output_option("text"), directory_options)
    for option in reversed(options):
        function = option(function)
    return cloup.command()(click.pass_obj(function))


@_command
def start(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Start modules that are stopped or have failed, and wait until they are ready.

    Exit status: 0 when they are ready, 1 when one is not, 3 if nothing is running.
    """
    _all(options, "start", modules, timeout, output)


@_command
def restart(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Give modules a new process, and wait until it is ready.

    Messages and connections wait meanwhile; the other modules do not notice. Exit status: 0
    when they are ready, 1 when one is not, 3 if nothing is running.
    """
    _all(options, "restart", modules, timeout, output)


@_command
def enable(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Run modules as if modules.enabled named them.

    It lasts until the next reload or restart of cloudcore.
    """
    _switch(options, "enable", modules, timeout, output)


@_command
def disable(options: Globals, modules: tuple[str, ...], timeout: float, output: str) -> None:
    """Do without modules that are enabled.

    They stop and clean up, as if modules.enabled did not name them; it lasts until the next
    reload or restart of cloudcore.
    """
    _switch(options, "disable", modules, timeout, output)


@cloup.command()
@timeout_option(120.0)
@output_option("text")
@directory_options
@click.pass_obj
def reload(options: Globals, timeout: float, output: str) -> None:
    """Let the running cloudcore read its configuration again.

    Newly enabled modules start, dropped ones stop and clean up, changed ones restart, unchanged
    ones keep their process. A faulty configuration changes nothing.
    """
    with asking():
        changes = client.request(socket_of(options), "POST", "/reload", timeout=timeout)
    _tell_changes(changes, output)


def verb(socket: Path, name: str, module: str, timeout: float) -> dict[str, Any]:
    """Ask for something to be done with a module; returns what `GET /status` has of it."""
    target = f"/modules/{quote(module, safe='')}/{name}"
    answer: dict[str, Any] = client.request(socket, "POST", target, timeout=timeout)
    return answer


def _all(
    options: Globals, name: str, modules: tuple[str, ...], timeout: float, output: str
) -> None:
    socket = socket_of(options)
    done = []
    for module in modules:
        with asking():
            try:
                done.append(verb(socket, name, module, timeout))
            except client.Refused as error:
                click.echo(f"Error: {error}", err=True)
                continue
        if output != "json":
            _tell_state(done[-1])
    if output == "json":
        print_json(done)
    if len(done) < len(modules) or any(module["state"] != "ready" for module in done):
        sys.exit(EXIT_FAILED)


def _tell_state(module: dict[str, Any]) -> None:
    reason = f" ({module['reason']})" if module["reason"] else ""
    pid = f", process {module['pid']}" if module["pid"] else ""
    click.echo(f"{module['name']}: {module['state']}{reason}{pid}")


def _switch(
    options: Globals, name: str, modules: tuple[str, ...], timeout: float, output: str
) -> None:
    socket = socket_of(options)
    for module in modules:
        with asking():
            changes = verb(socket, name, module, timeout)
        _tell_changes(changes, output)


def _tell_changes(changes: dict[str, list[str]], output: str) -> None:
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
        click.echo(f"in force only after a restart of cloudcore: {keys}", err=True)

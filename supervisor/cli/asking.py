"""What commands that ask a running supervisor have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click
import cloup

from supervisor import client
from supervisor.cli.options import Globals

Function = TypeVar("Function", bound=Callable[..., Any])

#: Exit statuses as LSB has them for init scripts.
EXIT_FAILED: Final = 1
EXIT_NOT_RUNNING: Final = 3


def output_option(*forms: str) -> Callable[[Function], Function]:
    """Add `-o`; the first form is the default, and "json" is always one."""
    return cloup.option(
        "-o",
        "--output",
        type=click.Choice([*forms, "json"]),
        default=forms[0],
        help="For people, or for programs.",
    )


def timeout_option(default: float) -> Callable[[Function], Function]:
    return cloup.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=default,
        metavar="SECONDS",
        help="How long to wait.",
    )


@contextmanager
def asking() -> Iterator[None]:
    """Turn what can go wrong with the supervisor into messages and exit statuses."""
    try:
        yield
    except client.NotRunning as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except client.AdminError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(0)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def complete_modules(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete names of modules from what runs; nothing if nothing does."""
    said = ctx.find_object(Globals) or Globals()
    try:
        status = client.request(said.paths().admin_socket, "GET", "/status", timeout=1)
    except (client.NotRunning, client.AdminError):
        return []
    return [m["name"] for m in status["modules"] if m["name"].startswith(incomplete)]


def module_arguments(*, required: bool = True) -> Callable[[Function], Function]:
    return cloup.argument(
        "modules",
        metavar="MODULE..." if required else "[MODULE...]",
        nargs=-1,
        required=required,
        shell_complete=complete_modules,
    )


def module_argument(function: Function) -> Function:
    """Add one module, which may be left out."""
    return cloup.argument(
        "module", metavar="[MODULE]", required=False, shell_complete=complete_modules
    )(function)

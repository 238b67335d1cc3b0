"""The common parts of the commands that send requests to a running supervisor."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from supervisor import client
from supervisor.cli.commands import option
from supervisor.cli.options import Globals

Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")

# Exit statuses, as LSB defines them for init scripts.
EXIT_FAILED: Final = 1
EXIT_NOT_RUNNING: Final = 3
#: 128 + SIGINT, as in a shell.
EXIT_INTERRUPTED: Final = 130


def timeout_option(
    default: float,
    help: str = "Seconds to wait.",  # noqa: A002 - click's word
) -> Callable[[Function], Function]:
    return option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=default,
        metavar="SECONDS",
        help=help,
    )


def socket_of(options: Globals) -> Path:
    """Return the admin socket of the cloudcore that the options name.

    Raises UsageError if --data-dir is given and the running cloudcore uses another data
    directory: a request meant for one cloudcore must not be answered by another.
    """
    paths = options.paths()
    if options.data_dir_given:
        try:
            used = client.request(paths.admin_socket, "GET", "/status").get("data_dir")
        except (client.NotRunning, client.AdminError):  # the command itself reports it
            used = None
        if used and not _same(used, paths.data_dir):
            text = f"the cloudcore in {paths.run_dir} uses the data directory {used}"
            raise click.UsageError(f"{text}, not {paths.data_dir}; did you mean another --run-dir?")
    return paths.admin_socket


def _same(reported: str, directory: Path) -> bool:
    """Whether two paths lead to one directory; in a report a path that is not UTF-8 is escaped."""
    from supervisor.telemetry.escaping import utf8  # which imports msgspec

    return reported == utf8(str(directory)) or Path(reported).resolve() == directory.resolve()


def from_running(options: Globals, method: str, target: str) -> Any | None:
    """Send a request to the running cloudcore; None if the caller is to read the data directory.

    That is the case if none is running, and if --data-dir is given alone: the cloudcore in the
    default run directory may be another one.
    """
    if options.data_dir_given and not options.run_dir:
        return None
    with asking():
        try:
            return client.request(socket_of(options), method, target)
        except client.NotRunning as error:
            if options.run_dir and not options.data_dir_given:
                hint = "to read files without a running cloudcore, use --data-dir"
                raise client.NotRunning(f"{error}; {hint}") from error
    return None


@contextmanager
def asking() -> Iterator[None]:
    """Turn errors of the admin client into messages and exit statuses."""
    try:
        yield
    except client.NotRunning as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_NOT_RUNNING)
    except client.AdminError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def until_interrupted(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items until Ctrl-C, which ends following without an error."""
    try:
        yield from items
    except KeyboardInterrupt:
        return


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def complete_modules(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the running modules that begin with `incomplete`; none if cloudcore is not running."""
    options = ctx.find_object(Globals) or Globals()
    try:
        status = client.request(options.paths().admin_socket, "GET", "/status", timeout=1)
    except (client.NotRunning, client.AdminError):
        return []
    return [m["name"] for m in status["modules"] if m["name"].startswith(incomplete)]


def module_arguments(*, required: bool = True) -> Callable[[Function], Function]:
    return click.argument(
        "modules",
        metavar="MODULE..." if required else "[MODULE...]",
        nargs=-1,
        required=required,
        shell_complete=complete_modules,
    )


def module_argument(function: Function) -> Function:
    """Add an optional argument: one module."""
    return click.argument(
        "module", metavar="[MODULE]", required=False, shell_complete=complete_modules
    )(function)

"""`cloudcore certs`: cloudcore's own certificates and those of edge nodes."""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.commands import option
from supervisor.cli.lazy import LazyCommand, LazyGroup
from supervisor.cli.options import Globals

COMMANDS = (
    LazyCommand(
        "init",
        "modules.common.pki.commands:init",
        "Commands",
        "Create the CA and the server's certificate, with the names of the configuration.",
    ),
    LazyCommand(
        "issue",
        "modules.common.pki.commands:issue",
        "Commands",
        "Issue certificates for edge nodes.",
    ),
    LazyCommand(
        "list",
        "modules.common.pki.commands:list_",
        "Commands",
        "List the certificates of cloudcore and of its edge nodes.",
    ),
    LazyCommand(
        "renew",
        "modules.common.pki.commands:renew",
        "Commands",
        "Renew those of cloudcore's own certificates that have less than 30 days left.",
    ),
)


@click.group("certs", cls=LazyGroup, lazy_commands=COMMANDS)
def certs() -> None:
    """Create, list and renew the certificates of cloudcore and its edge nodes."""


def _data_dir(context: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Return the --data-dir of the command, or the data directory of `cloudcore`."""
    if value and isinstance(context.obj, Globals):
        context.obj.data_dir_given = value
    return value or getattr(context.obj, "data_dir", None)


def pki_directory(data_dir: Path | None) -> Path:
    """Return the directory of the CA; a usage error without a data directory."""
    if data_dir is None:
        raise click.UsageError("missing option --data-dir: the data directory that has the CA")
    return data_dir / "pki"


data_dir_option = option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_data_dir,
    help="cloudcore's data directory, which holds the CA in pki/.",
)

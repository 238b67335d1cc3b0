"""`cloudcore certs`: certificates for edge nodes."""

from __future__ import annotations

import os
from pathlib import Path

import click
import cloup

from modules.common import certs as pki


def _default_data_dir() -> Path:
    """Return the data directory that `cloudcore run` has without options."""
    if os.geteuid() == 0:
        return Path("/var/lib/cloudcore")
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "cloudcore"


def _data_dir(context: click.Context, _: click.Parameter, value: Path | None) -> Path:
    return Path(value or getattr(context.obj, "data_dir", None) or _default_data_dir())


data_dir_option = cloup.option(
    "--data-dir",
    type=cloup.dir_path(path_type=Path),
    callback=_data_dir,
    help="cloudcore's data directory, which holds the CA in pki/.",
)


@cloup.group("certs")
def certs() -> None:
    """Make certificates for edge nodes."""


@certs.command("issue")
@cloup.argument("node", help="The node's name, as it has it in the Kubernetes API.")
@cloup.option(
    "--out",
    "directory",
    required=True,
    type=cloup.dir_path(path_type=Path),
    help="Where to write rootCA.crt, edge.crt and edge.key; made if missing.",
)
@data_dir_option
def issue(node: str, directory: Path, data_dir: Path) -> None:
    """Make a certificate for the edge node NODE.

    Copy the three files to the node, to /etc/kubeedge/ca/rootCA.crt and /etc/kubeedge/certs/.
    """
    try:
        certificate, key = pki.issue_node(data_dir / "pki", node)
        directory.mkdir(parents=True, exist_ok=True)
        pki.write_public(directory / "rootCA.crt", (data_dir / "pki" / "ca.crt").read_bytes())
        pki.write_private(directory / "edge.key", key)
        pki.write_public(directory / "edge.crt", certificate)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"cannot write {error.filename or directory}: {error.strerror}"
        ) from error
    click.echo(f"{node}: rootCA.crt, edge.crt and edge.key are in {directory}")

"""`cloudcore certs`: certificates for edge nodes."""

from __future__ import annotations

from pathlib import Path

import click
import cloup

from modules.common import certs as pki


def _data_dir(context: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    """Take what the command says, or else what `cloudcore` itself goes by."""
    return value or getattr(context.obj, "data_dir", None)


def pki_directory(data_dir: Path | None) -> Path:
    """Where the CA is; a usage error if nobody said what the data directory is."""
    if data_dir is None:
        raise click.UsageError("say which data directory has the CA, with --data-dir")
    return data_dir / "pki"


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
def issue(node: str, directory: Path, data_dir: Path | None) -> None:
    """Make a certificate for the edge node NODE.

    Copy the three files to the node, to /etc/kubeedge/ca/rootCA.crt and /etc/kubeedge/certs/.
    """
    source = pki_directory(data_dir)
    try:
        certificate, key = pki.issue_node(source, node)
        directory.mkdir(parents=True, exist_ok=True)
        pki.write_public(directory / "rootCA.crt", (source / "ca.crt").read_bytes())
        pki.write_private(directory / "edge.key", key)
        pki.write_public(directory / "edge.crt", certificate)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"cannot write {error.filename or directory}: {error.strerror}"
        ) from error
    click.echo(f"{node}: rootCA.crt, edge.crt and edge.key are in {directory}")

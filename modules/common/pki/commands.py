"""The commands of `cloudcore certs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from modules.common.pki import certificates as pki
from modules.common.pki import output
from modules.common.pki.authority import remembered
from modules.common.pki.cli import data_dir_option, pki_directory
from modules.common.pki.listing import Listed, list_certificates
from modules.common.times import format_time
from supervisor.cli.commands import Command, option
from supervisor.cli.options import config_options, output_option, run_dir_option
from supervisor.cli.text_table import align, width_of_output

_SAME_CA: Final = (
    "The CA is the one that edges trust: nothing has changed. For another one, move {} away first."
)
_NEW_CA: Final = (
    "Edges have to trust another CA from now on (SHA-256 fingerprint {}). For each of them run "
    "`cloudcore certs issue NODE --out DIR` and copy the files there; copy the kubeconfig again to "
    "wherever it is used; then restart cloudcore."
)

_out_option = option(
    "--out",
    "directory",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write rootCA.crt, edge.crt and edge.key; made if missing.",
)


@click.command("init", cls=Command)
@option(
    "--new-ca",
    is_flag=True,
    help="Make a new CA where the old one is lost: no edge can connect until it has new files.",
)
@data_dir_option
@run_dir_option
@config_options
@click.pass_obj
def init(said: Any, data_dir: Path | None, new_ca: bool) -> None:
    """Create the CA and the server's certificate, with the names of the configuration.

    `cloudcore run` does the same at its start. Existing files are kept. With --new-ca, a missing
    CA is created again, and a different one is accepted.
    """
    directory = pki_directory(data_dir)
    with _failures(directory):
        memory = pki.Pki(directory).authority.fingerprint
        before = remembered(memory)
        pki.ensure_pki(directory, configured_names(said), new_ca=new_ca)
        _show(list_certificates(pki.Pki(directory)))
        if new_ca and before == remembered(memory):
            click.echo(_SAME_CA.format(directory), err=True)
        elif new_ca:
            click.echo(_NEW_CA.format(remembered(memory)), err=True)


@click.command("issue", cls=Command)
@click.argument(
    "nodes",
    nargs=-1,
    required=True,
    metavar="NODE...",
    help="The nodes' names, as they have them in the Kubernetes API.",
)
@_out_option
@data_dir_option
def issue(nodes: tuple[str, ...], directory: Path, data_dir: Path | None) -> None:
    """Issue certificates for edge nodes.

    Copy the three files to the node, to /etc/kubeedge/ca/rootCA.crt and /etc/kubeedge/certs/. For
    several nodes, the files of each are in a directory with its name.
    """
    source = pki_directory(data_dir)
    failed = False
    for node in nodes:
        try:
            _issue(node, directory / node if len(nodes) > 1 else directory, source)
        except click.ClickException as error:
            error.show()
            failed = True
    if failed:
        sys.exit(1)


@click.command("list", cls=Command)
@output_option("table")
@data_dir_option
def list_(output: str, data_dir: Path | None) -> None:
    """List the certificates of cloudcore and of its edge nodes.

    On a narrow terminal SUBJECT and NAMES are omitted; -o json has everything.

    STATE is good, expiring (less than 30 days left), expired, or foreign (signed by another CA).
    """
    directory = pki_directory(data_dir)
    with _failures(directory):
        listed = list(list_certificates(pki.Pki(directory)))
    if output == "json":
        click.echo(json.dumps([_document(each) for each in listed], indent=2))
    elif listed:
        _show(listed)
    else:
        click.echo(
            f"there are no certificates in {directory}: see `cloudcore certs init`", err=True
        )


@click.command("renew", cls=Command)
@click.argument("names", nargs=-1, metavar="[server|admin]...", help="Renew these in any case.")
@data_dir_option
@run_dir_option
@config_options
@click.pass_obj
def renew(said: Any, names: tuple[str, ...], data_dir: Path | None) -> None:
    """Renew those of cloudcore's own certificates that have less than 30 days left.

    A running cloudcore uses them for new connections within seconds; open connections continue.
    A node's certificate is renewed with `cloudcore certs issue`.
    """
    if unknown := sorted(set(names) - {"server", "admin"}):
        raise click.BadParameter(
            f"{', '.join(unknown)}: only server and admin can be renewed here; for a node use "
            "`cloudcore certs issue NODE --out DIR`. The CA stays: edges trust it",
            param_hint="NAME",
        )
    directory = pki_directory(data_dir)
    if not pki.Pki(directory).ca_cert.exists():
        raise click.ClickException(f"there is no CA in {directory}: see `cloudcore certs init`")
    with _failures(directory):
        before = {each.name: each.serial for each in list_certificates(pki.Pki(directory))}
        pki.ensure_pki(directory, configured_names(said), renew=names)
        after = list(list_certificates(pki.Pki(directory)))
    renewed = [each for each in after if before.get(each.name) != each.serial]
    for each in renewed:
        click.echo(f"{each.name}: renewed, good until {each.expires:%Y-%m-%d}")
    if not renewed:
        click.echo("nothing has less than 30 days left")
    for each in after:
        if each.kind == "node" and each.state != "good":
            click.echo(
                f"{each.name}: {each.state}, until {each.expires:%Y-%m-%d}; run "
                f"`cloudcore certs issue {each.name} --out DIR`"
            )


def configured_names(said: Any) -> list[str]:
    """Return the server names and addresses in the configuration.

    `said` holds the global options of `cloudcore`, None if the command is run on its own.
    """
    if said is None or not hasattr(said, "load"):
        return []
    names: list[str] = []
    for module in said.load_running().modules:
        address = getattr(module.config, "address", "")
        names += getattr(module.config, "names", [])
        names += [address] if address and address not in pki.WILDCARDS else []
    return list(dict.fromkeys(names))


def _issue(node: str, directory: Path, source: Path) -> None:
    with _failures(directory):
        issued = pki.issue_node(source, node, record=True)
        notes = output.prepare(directory)
        pki.write_node_files(directory, source, issued)
    for note in notes:
        click.echo(note, err=True)
    click.echo(f"{node}: rootCA.crt, edge.crt and edge.key are in {directory}")


@contextmanager
def _failures(directory: Path) -> Iterator[None]:
    """Turn errors with the files into one-line messages of the command."""
    try:
        yield
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"cannot write {error.filename or directory}: {error.strerror}"
        ) from error


def _document(listed: Listed) -> dict[str, Any]:
    dates = {
        name: format_time(moment)
        for name, moment in (("issued", listed.issued), ("expires", listed.expires))
    }
    return asdict(listed) | dates | {"file": str(listed.file)}


def _show(listed: Iterable[Listed]) -> None:
    rows = [
        {
            "NAME": each.name,
            "SUBJECT": each.subject,
            "EXPIRES": f"{each.expires:%Y-%m-%d}",
            "LEFT": f"{(each.expires - datetime.now(UTC)).days}d",
            "STATE": each.state,
            "NAMES": ",".join(each.names) or "-",
        }
        for each in listed
    ]
    columns = ("NAME", "SUBJECT", "EXPIRES", "LEFT", "STATE", "NAMES")
    lines = align(columns, rows, drop=("SUBJECT", "NAMES"), width=width_of_output())
    click.echo("\n".join(lines))

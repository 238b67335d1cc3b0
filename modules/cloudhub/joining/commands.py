"""The commands of `cloudcore token`."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.joining.authority import authority_files
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, load_authority
from modules.common.pki.certificates import WILDCARDS
from modules.common.pki.cli import data_dir_option
from modules.common.pki.host_names import own_addresses
from modules.common.pki.token_store import Token, TokenStore
from modules.common.pki.tokens import InvalidToken, verify_token
from modules.common.text_table import align, terminal_width
from modules.common.times import format_time
from supervisor.cli.commands import Command, option
from supervisor.cli.options import config_options, output_option

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(?:\d{1,6}[dhms])+")
_LONGEST: Final = 10 * 365 * 86400
_KUBEEDGE: Final = "1.23.1"
_PARTS: Final = 4


class _Duration(click.ParamType[int]):
    """A duration such as 24h, 90m or 1d12h, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        seconds = 0
        if _DURATION.fullmatch(value):
            parts = re.findall(r"(\d+)([dhms])", value)
            seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r} is no duration from 1s to 3650d, such as 24h", param, ctx)
        return seconds


@click.command("create", cls=Command)
@option(
    "--ttl",
    type=_Duration(),
    default="24h",
    show_default=True,
    help="How long an edge can join with it: 30m, 24h, 7d.",
)
@option(
    "--print-join-command",
    is_flag=True,
    help="Print the command for the edge instead of the token alone.",
)
@option(
    "--kubeedge-version",
    default=_KUBEEDGE,
    show_default=True,
    help="The version of the edge that the command names.",
)
@data_dir_option
@config_options
@click.pass_obj
def create(
    said: Any, ttl: int, print_join_command: bool, kubeedge_version: str, data_dir: Path | None
) -> None:
    """Make a token, and print it alone on a line.

    Whoever has it can join as any node until it expires or is revoked.
    """
    config, directory = _configured(said), _directory(data_dir)
    with _failures():
        authority = _authority(config, directory)
        command = _join_command(config, kubeedge_version) if print_join_command else []
        text = TokenStore(directory).create(ttl).text(authority)
    click.echo(shlex.join([*command, f"--token={text}"]) if command else text)


@click.command("list", cls=Command)
@output_option("table")
@data_dir_option
def list_(output: str, data_dir: Path | None) -> None:
    """List the tokens that have not expired, without the tokens themselves.

    STATE is good, revoked, or default: the one that cloudcore keeps and renews by itself.
    """
    with _failures():
        tokens = TokenStore(_directory(data_dir)).tokens()
    if output == "json":
        click.echo(json.dumps([_document(each) for each in tokens], indent=2))
    elif tokens:
        rows = [
            (each.id, _time(each.created), _time(each.expires), _state(each)) for each in tokens
        ]
        headings = ("ID", "CREATED", "EXPIRES", "STATE")
        click.echo(align(headings, rows, width=terminal_width()))
    else:
        click.echo("there are no tokens: see `cloudcore token create`", err=True)


@click.command("revoke", cls=Command)
@click.argument("name", metavar="ID|TOKEN", help="An id of `cloudcore token list`, or a token.")
@data_dir_option
@config_options
@click.pass_obj
def revoke(said: Any, name: str, data_dir: Path | None) -> None:
    """Let nobody join with a token any more, from now on.

    Edges that have joined with it stay joined. A revoked default token is replaced by itself.
    """
    directory = _directory(data_dir)
    with _failures():
        token_id = _id_of(name, _configured(said), directory)
        try:
            TokenStore(directory).revoke(token_id)
        except KeyError:
            raise click.ClickException(
                f"no token has the id {token_id}; `cloudcore token list` shows which there are"
            ) from None
    click.echo(f"{token_id}: revoked")


def _id_of(name: str, config: CloudHubConfig, directory: Path) -> str:
    if name.count(".") != _PARTS - 1:
        return name
    authority = _authority(config, directory)
    try:
        claims = verify_token(authority, name.partition(".")[2], time.time())
    except InvalidToken as error:
        raise click.ClickException(f"this token lets nobody join: {error}") from error
    if not claims.jti:
        raise click.ClickException(
            "this token has no id, for it was not made by this cloudcore: it cannot be revoked, "
            f"and expires at {_time(claims.exp)}"
        )
    return claims.jti


def _configured(said: Any) -> CloudHubConfig:
    """Return CloudHub's configuration; the default one if the command is run on its own."""
    if said is not None and hasattr(said, "load"):
        for module in said.load().modules:
            if isinstance(module.config, CloudHubConfig):
                return module.config
    return CloudHubConfig()


def _directory(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise click.UsageError("missing option --data-dir: the data directory that has the CA")
    return data_dir


def _authority(config: CloudHubConfig, directory: Path) -> signing.Authority:
    files = authority_files(config, directory)
    if not isinstance(files, AuthorityFiles):
        raise click.ClickException(
            "cloudcore has no key of the CA to make tokens with; set modules.cloudhub.ca_key"
        )
    if not files.cert.exists():
        raise click.ClickException(
            f"there is no CA yet ({files.cert}); start cloudcore, or run `cloudcore certs init`"
        )
    return load_authority(files)


def _join_command(config: CloudHubConfig, version: str) -> list[str]:
    """Return `keadm join` without its token."""
    if not config.https:
        raise click.ClickException("edges cannot join: modules.cloudhub.https is false")
    if not (config.port and config.https_port):
        raise click.ClickException(
            "cloudhub's ports are chosen at its start (port = 0): see `cloudcore status`"
        )
    host = _host(config)
    where = f"[{host}]" if ":" in host else host
    command = ["keadm", "join", f"--cloudcore-ipport={where}:{config.port}"]
    if config.https_port != CloudHubConfig().https_port:
        command.append(f"--certport={config.https_port}")
    return [*command, f"--kubeedge-version={version}"]


def _host(config: CloudHubConfig) -> str:
    """Return what an edge may dial: a configured name, or the address of the default route."""
    if config.names:
        return config.names[0]
    if config.address not in WILDCARDS:
        return config.address
    return (own_addresses() or ["127.0.0.1"])[0]


@contextmanager
def _failures() -> Iterator[None]:
    """Turn errors with the files into one-line messages of the command."""
    try:
        yield
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot use {error.filename}: {error.strerror}") from error


def _state(each: Token) -> str:
    return "revoked" if each.revoked else "default" if each.default else "good"


def _document(each: Token) -> dict[str, str]:
    return {
        "id": each.id,
        "created": _time(each.created),
        "expires": _time(each.expires),
        "state": _state(each),
    }


def _time(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))

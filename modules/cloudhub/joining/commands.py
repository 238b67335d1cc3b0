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
from typing import TYPE_CHECKING, Any, Final

import click

from modules.cloudhub.joining.join_line import KUBEEDGE, join_command, token_authority
from modules.common.pki.cli import data_dir_option
from modules.common.pki.token_store import Token, TokenStore
from modules.common.pki.tokens import InvalidToken, verify_token
from modules.common.times import format_time
from supervisor.cli.commands import Command, option
from supervisor.cli.options import config_options, output_option, run_dir_option
from supervisor.cli.text_table import align, width_of_output

if TYPE_CHECKING:  # it imports pydantic, which `cloudcore token list` does without
    from modules.cloudhub.config import CloudHubConfig

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(?:\d{1,6}[dhms])+")
_LONGEST: Final = 10 * 365 * 86400
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
    metavar="VERSION",
    default=KUBEEDGE,
    show_default=True,
    help="The version of the edge that the command names.",
)
@data_dir_option
@run_dir_option
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
        authority = token_authority(config, directory)
        command = join_command(config, kubeedge_version) if print_join_command else []
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
        rows = [{name.upper(): text for name, text in _document(each).items()} for each in tokens]
        columns = ("ID", "CREATED", "EXPIRES", "STATE")
        click.echo("\n".join(align(columns, rows, width=width_of_output())))
    else:
        click.echo("there are no tokens: see `cloudcore token create`", err=True)


@click.command("revoke", cls=Command)
@click.argument("name", metavar="ID|TOKEN", help="An id of `cloudcore token list`, or a token.")
@data_dir_option
@run_dir_option
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
    authority = token_authority(config, directory)
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
    from modules.cloudhub.config import CloudHubConfig

    if said is not None and hasattr(said, "load"):
        for module in said.load_running().modules:
            if isinstance(module.config, CloudHubConfig):
                return module.config
    return CloudHubConfig()


def _directory(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise click.UsageError("missing option --data-dir: the data directory that has the CA")
    return data_dir


@contextmanager
def _failures() -> Iterator[None]:
    """Turn errors with the files into one-line messages of the command."""
    try:
        yield
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot use {error.filename}: {error.strerror}") from error


def _document(each: Token) -> dict[str, str]:
    return {
        "id": each.id,
        "created": _time(each.created),
        "expires": _time(each.expires),
        "state": each.state,
    }


def _time(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))

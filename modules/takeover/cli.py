"""`cloudcore config convert` and `cloudcore takeover check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from supervisor.cli.asking import timeout_option
from supervisor.cli.commands import Command
from supervisor.cli.options import CheckedGroup, config_options, directory_options, output_option


@click.command(cls=Command, name="convert")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE...",
    help="cloudcore.yaml, or controller.yaml, modules.yaml and logging.yaml of KubeEdge 1.1.",
)
def convert(files: tuple[Path, ...]) -> None:
    """Print KubeEdge's configuration in the form of this cloudcore.

      cloudcore config convert /etc/kubeedge/config/cloudcore.yaml > cloudcore.toml

    Each key says from which of KubeEdge's it comes; keys without an equivalent follow as comments,
    with the reason.
    """
    from modules.takeover import conversion
    from modules.takeover.go_configuration import CannotConvert, text_of

    try:
        text = conversion.convert({str(each): text_of(each) for each in files})
    except (CannotConvert, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(text, nl=False)


@click.group("takeover", cls=CheckedGroup)
def takeover() -> None:
    """Move a fleet of edges from KubeEdge's own cloudcore to this one."""


@takeover.command("check")
@click.argument(
    "file",
    required=False,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="[FILE]",
    help="cloudcore.yaml of KubeEdge's cloudcore, or controller.yaml of KubeEdge 1.1.",
)
@output_option("text")
@timeout_option(30.0, help="Deadline of each check; all run at once.")
@directory_options
@config_options
@click.pass_context
def check(context: click.Context, file: Path | None, output: str, timeout: float) -> None:
    """Say what will happen when KubeEdge's cloudcore is replaced by this one.

      cloudcore takeover check --config cloudcore.toml /etc/kubeedge/config/cloudcore.yaml

    It looks at the cluster (that of cloudcore's configuration, or else of FILE) and at files, and
    changes nothing: whether KubeEdge's cloudcore runs, its CA and token, what edges have and are
    sent, what is in use that cloudcore does not have, and the way back.

    Exit status: 0 if cloudcore can take over, 1 if a line is wrong or unclear.
    """
    from modules.takeover.check.sections import sections
    from modules.takeover.check.subject import subject
    from modules.takeover.go_configuration import CannotConvert, GoConfiguration
    from supervisor.cli.command_lines import command_line
    from supervisor.cli.findings import report

    options: Any = context.obj
    root = context.find_root().command
    assert isinstance(root, click.Group)
    try:
        go = GoConfiguration.read(file) if file else None
    except (CannotConvert, OSError) as error:
        raise click.ClickException(str(error)) from error
    taken = subject(
        options.load(),
        options.paths(),
        go,
        lambda *words: command_line(root, options, *words),
    )
    if not taken.settings.kubernetes.configured and go is None:
        raise click.UsageError(
            "no cluster is named; give cloudcore.yaml of KubeEdge, or --config with [kubernetes]"
        )
    sys.exit(report(sections(taken), output, timeout))

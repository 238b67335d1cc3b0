"""`cloudcore config convert`: KubeEdge's configuration as this cloudcore's."""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.commands import Command


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

    try:
        text = conversion.convert({str(each): each.read_text("utf-8") for each in files})
    except (conversion.CannotConvert, UnicodeDecodeError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(text, nl=False)

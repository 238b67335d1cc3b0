"""`cloudcore config`."""

from __future__ import annotations

import click

from supervisor.cli.commands import Command
from supervisor.cli.lazy import LazyCommand, LazyGroup
from supervisor.cli.options import Globals, global_options, loading_options, output_option

COMMANDS = (
    LazyCommand(
        "default",
        "supervisor.cli.config:default",
        "Configuration",
        "Print the configuration that is shipped, every key with a comment.",
    ),
    LazyCommand(
        "show",
        "supervisor.cli.config:show",
        "Configuration",
        "Print the configuration in force: file, environment and --set taken together.",
    ),
    LazyCommand(
        "check",
        "supervisor.cli.config:check",
        "Configuration",
        "Check the configuration and the files that it refers to.",
    ),
)


@click.group(
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    entry_points="cloudcore.commands.config",
    entry_points_section="Moving from KubeEdge",
)
@global_options
def config() -> None:
    """Print, check or convert a configuration."""


@click.command(cls=Command, name="default")
def default() -> None:
    """Print the default configuration, every key with a comment."""
    from supervisor.config.loading import default_file

    click.echo(default_file().read_text("utf-8"), nl=False)


@click.command(cls=Command, name="show")
@output_option("toml", help="Output format.")
@loading_options
@click.pass_obj
def show(options: Globals, output: str) -> None:
    """Print the configuration in force: file, environment and --set merged.

    A comment names the source of each value that is not the default.
    """
    from supervisor.config import showing

    configuration = options.load()
    if output == "json":
        import json

        click.echo(json.dumps(showing.effective(configuration), indent=2))
    else:
        click.echo(showing.render(configuration), nl=False)


@click.command(cls=Command, name="check")
@global_options
@click.pass_obj
def check(options: Globals) -> None:
    """Check the configuration and the files that it refers to, and report all faults at once.

    Exit status: 0 without faults, 2 with faults.
    """
    from supervisor.cli.faults import FaultyConfiguration
    from supervisor.config import ConfigError
    from supervisor.config.references import bad_references

    configuration = options.load()
    found = bad_references(configuration, options.paths())
    if found:
        raise FaultyConfiguration(ConfigError(found))
    enabled = [spec.name for spec in configuration.modules if spec.enabled]
    source = options.config or "the default configuration"
    click.echo(f"{source}: no faults; enabled: {', '.join(enabled)}")

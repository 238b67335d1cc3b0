"""`cloudcore completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from supervisor.cli.commands import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes cloudcore's commands in a shell.

    For bash and zsh: source <(cloudcore completion bash). For fish: cloudcore completion fish |
    source.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(ctx.find_root().command, {}, "cloudcore", "_CLOUDCORE_COMPLETE")
    variables = {
        "complete_func": made.func_name,
        "complete_var": made.complete_var,
        "prog_name": made.prog_name,
    }
    click.echo(made.source_template % variables)

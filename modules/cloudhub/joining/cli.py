"""`cloudcore token`: tokens with which edges join."""

from __future__ import annotations

import click

from supervisor.cli.lazy import LazyCommand, LazyGroup

COMMANDS = (
    LazyCommand(
        "create",
        "modules.cloudhub.joining.commands:create",
        "Commands",
        "Make a token, and print it alone on a line.",
    ),
    LazyCommand(
        "list",
        "modules.cloudhub.joining.commands:list_",
        "Commands",
        "List the tokens that have not expired, without the tokens themselves.",
    ),
    LazyCommand(
        "revoke",
        "modules.cloudhub.joining.commands:revoke",
        "Commands",
        "Let nobody join with a token any more, from now on.",
    ),
)


@click.group("token", cls=LazyGroup, lazy_commands=COMMANDS)
def token() -> None:
    """Create, list and revoke the tokens with which edges join."""

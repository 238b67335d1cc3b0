"""Commands that are imported only when they are run."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

from supervisor.cli.commands import write_lists
from supervisor.cli.options import CheckedGroup


class LazyCommand(NamedTuple):
    """A command's place ("module:attribute"), and its help, which needs no import."""

    name: str
    target: str
    section: str
    short_help: str

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class LazyGroup(CheckedGroup):
    """A group of LazyCommands, and of commands that other packages add as entry points.

    Entry points are looked up only for a name that is not in the table, and for help.
    """

    def __init__(
        self,
        *args: Any,
        lazy_commands: Sequence[LazyCommand] = (),
        entry_points: str = "",
        entry_points_section: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = {command.name: command for command in lazy_commands}
        self._group = entry_points
        self._section = entry_points_section

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*self._lazy, *(name for name in self._added() if name not in self._lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in self._lazy:
            return self._lazy[cmd_name].load()
        entry = self._added().get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = entry.load()
        except Exception as error:
            raise click.ClickException(
                f"cannot load the command {cmd_name!r} ({entry.value}): "
                f"{type(error).__name__}: {error}"
            ) from error
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click knows only the commands that are imported
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in their sections; those of the table are not imported for it."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for command in self._lazy.values():
            sections.setdefault(command.section, []).append((command.name, command.short_help))
        for name in self._added():
            sections.setdefault(self._section, []).append((name, self._short_help(ctx, name)))
        write_lists(formatter, sections.items())

    def _short_help(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except click.ClickException as error:
            return error.message
        assert command is not None
        return command.get_short_help_str(limit=80)

    def _added(self) -> dict[str, Any]:
        if not self._group:
            return {}
        from importlib.metadata import entry_points

        return {entry.name: entry for entry in entry_points(group=self._group)}

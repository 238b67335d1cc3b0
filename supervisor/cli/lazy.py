"""Commands that are imported only when they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click
import cloup

from supervisor.cli.options import CheckedGroup


@dataclass(frozen=True)
class LazyCommand:
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
        entry_points: str,
        entry_points_section: str,
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

    def handle_bad_command_name(
        self,
        bad_name: str,
        valid_names: list[str],  # noqa: ARG002 - they lack the commands not yet imported
        error: click.UsageError,
    ) -> click.UsageError:
        names = self.list_commands(click.get_current_context())
        return super().handle_bad_command_name(bad_name, names, error)

    def list_sections(
        self,
        ctx: click.Context,
        include_default_section: bool = True,  # noqa: ARG002 - every command has a section
    ) -> list[cloup.Section]:
        sections: dict[str, cloup.Section] = {}
        described = [
            (lazy.section, click.Command(lazy.name, short_help=lazy.short_help))
            for lazy in self._lazy.values()
        ]
        described += [(self._section, self._describe(ctx, name)) for name in self._added()]
        for title, command in described:
            sections.setdefault(title, cloup.Section(title)).add_command(command)
        return list(sections.values())

    def _describe(self, ctx: click.Context, name: str) -> click.Command:
        try:
            command = self.get_command(ctx, name)
        except click.ClickException as error:
            return click.Command(name, short_help=error.message)
        assert command is not None
        return click.Command(name, short_help=command.get_short_help_str(limit=80))

    def _added(self) -> dict[str, Any]:
        from importlib.metadata import entry_points

        return {entry.name: entry for entry in entry_points(group=self._group)}

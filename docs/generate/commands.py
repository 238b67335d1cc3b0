"""The commands, from their parsers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.generate.markdown import code, definitions, prose
from supervisor.cli.app import cloudcore

_NAME = "cloudcore"


def render() -> str:
    """Return a section for each command, and one for `cloudcore` itself."""
    return "\n".join(_section(context) for context in contexts())


def contexts(
    command: click.Command = cloudcore, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """Return the context of each command, that of a group before those of its commands."""
    context = click.Context(command, info_name=command.name if parent else _NAME, parent=parent)
    context.show_default = True
    yield context
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from contexts(inner, context)


def _section(context: click.Context) -> str:
    command = context.command
    pieces = " ".join(command.collect_usage_pieces(context))
    parts = [
        f"## {context.command_path}",
        f"```text\n{context.command_path} {pieces}\n```",
        *(_paragraphs(command.help or "")),
    ]
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if not isinstance(p, click.Argument)]
    parts += [definitions(_of_parameters(context, each)) for each in (arguments, options) if each]
    return "\n\n".join(parts) + "\n"


def _of_parameters(
    context: click.Context, parameters: list[click.Parameter]
) -> Iterator[tuple[str, str]]:
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record:
            yield code(record[0]), prose(record[1])
        elif isinstance(parameter, click.Argument):
            yield code(parameter.make_metavar(context)), prose(getattr(parameter, "help", "") or "")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            as_it_is = paragraph.removeprefix("\b").strip()
            yield f"```text\n{as_it_is}\n```"
        else:
            yield prose(" ".join(paragraph.split()))

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
    parts += [definitions(terms) for terms in (_arguments(context), _options(context)) if terms]
    return "\n\n".join(parts) + "\n"


def _arguments(context: click.Context) -> list[tuple[str, str]]:
    """Return those that say more than their names in the line of usage."""
    return [
        (code(each.make_metavar(context)), prose(each.help))
        for each in context.command.params
        if isinstance(each, click.Argument) and each.help
    ]


def _options(context: click.Context) -> list[tuple[str, str]]:
    records = (
        each.get_help_record(context)
        for each in context.command.params
        if isinstance(each, click.Option)
    )
    return [(code(record[0]), prose(record[1])) for record in records if record]


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            as_it_is = paragraph.removeprefix("\b").strip()
            yield f"```text\n{as_it_is}\n```"
        else:
            yield prose(" ".join(paragraph.split()))

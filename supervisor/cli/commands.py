"""Commands whose options stand in groups with titles of their own in `--help`.

click has the commands and the parsing. cloup does the same as this file and more, but importing it
takes as long as all the rest of `cloudcore status`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

#: The title of options without one, if others have one.
_OTHER: Final = "Other options"
#: Characters of the first column of a list in `--help`; the text of a longer name is below it.
_WIDEST: Final = 31


class Option(click.Option):
    """An option, and the title under which it stands in `--help`; "" for those without one."""

    title: str = ""


def option(*declarations: str, **attributes: Any) -> Callable[[Function], Function]:
    """Declare an option as click.option does, one that an `option_group` may have."""
    return click.option(*declarations, cls=Option, **attributes)


def option_group(
    title: str, *options: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """Declare options that stand under one title; each of them is a decorator, as of `option`."""

    def declare(function: Any) -> Any:
        for each in reversed(options):
            function = each(function)
            declared = function.__click_params__[-1]
            assert isinstance(declared, Option)
            declared.title = title
        return function

    return declare


class Command(click.Command):
    """A command that lists its options under their titles."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        parameters = self.get_params(ctx)
        titles: dict[str, list[tuple[str, str]]] = {}
        for option in parameters:
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                titles.setdefault(getattr(option, "title", ""), []).append(record)
        others = titles.pop("", [])
        arguments = [each for each in parameters if isinstance(each, click.Argument) and each.help]
        write_lists(
            formatter,
            [
                ("Positional arguments", [each.get_help_record(ctx) for each in arguments]),
                *titles.items(),
                (_OTHER if titles else "Options", others),
            ],
        )

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: they are above the options, in the same columns."""


class Group(click.Group, Command):
    """A group of Commands, whose own options are under titles as well."""

    command_class = Command


def write_lists(
    formatter: click.HelpFormatter, lists: Iterable[tuple[str, Sequence[tuple[str, str]]]]
) -> None:
    """Write lists of names and texts, each under its title, with all texts in one column."""
    filled = [(title, rows) for title, rows in lists if rows]
    widths = [len(name) for _, rows in filled for name, _ in rows]
    width = max((each for each in widths if each <= _WIDEST), default=_WIDEST)
    for title, rows in filled:
        with formatter.section(title):
            formatter.write_dl([(name.ljust(width), text) for name, text in rows], col_max=width)

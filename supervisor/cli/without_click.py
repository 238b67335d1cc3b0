"""`cloudcore status` without click, whose import takes longer than all the rest of the command.

It is run in loops and in prompts. What is parsed here is a part of what click parses, with the
same meaning, which tests/supervisor/test_without_click.py compares. Everything else is left to
click: all other options, help, and what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from supervisor.host import paths

_FORMS: Final = ("table", "json")
#: The field of Arguments that an option sets.
_FIELDS: Final = {"--run-dir": "run_dir", "-o": "output", "--output": "output"}


class Arguments(NamedTuple):
    """What `cloudcore status` was given."""

    run_dir: Path | None = None
    output: str = _FORMS[0]


def run(words: Sequence[str]) -> int | None:
    """Run the command of a command line, and return its exit status; None leaves it to click."""
    arguments = parse(words)
    if arguments is None:
        return None
    from supervisor.cli import status_document

    return status_document.show(paths.resolve(arguments.run_dir).admin_socket, arguments.output)


def parse(words: Sequence[str]) -> Arguments | None:
    """Return the arguments of `cloudcore status`; None if click has to look at the words."""
    command, rest = words[:1], iter(words[1:])
    if list(command) != ["status"]:
        return None
    given: dict[str, str] = {}
    for word in rest:
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not equals:
            value = next(rest, "")
        if option not in _FIELDS or not value or value.startswith("-"):
            return None
        given[_FIELDS[option]] = value
    if given.get("output", _FORMS[0]) not in _FORMS:
        return None
    if (directory := given.pop("run_dir", "")) and not _usable(directory):
        return None
    return Arguments(Path(directory) if directory else None, **given)


def _usable(directory: str) -> bool:
    return Path(directory).is_dir() and os.access(directory, os.R_OK)

"""Command lines for the cloudcore that the present options name, for people to copy."""

from __future__ import annotations

import shlex
import shutil
import sys

import click

from supervisor.cli.options import Globals


def command_line(root: click.Group, options: Globals, *words: str) -> str:
    """Return `cloudcore WORDS`, with those of the present options that the command takes."""
    program = "cloudcore" if shutil.which("cloudcore") else sys.argv[0]
    taken = {parameter.name for parameter in _command(root, words).params}
    given = {
        "config": ("--config", options.config),
        "run_dir": ("--run-dir", options.run_dir),
        "data_dir": ("--data-dir", options.data_dir_given),
    }
    more = [
        text
        for name, (flag, value) in given.items()
        if value and name in taken
        for text in (flag, str(value))
    ]
    if "set" in taken:
        more += [text for each in options.sets for text in ("--set", each)]
    return shlex.join([program, *words, *more])


def _command(root: click.Group, words: tuple[str, ...]) -> click.Command:
    command: click.Command = root
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            break
        command = found
    return command

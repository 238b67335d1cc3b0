"""The error of a configuration with faults, as the command line prints it."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from supervisor.config import ConfigError


class FaultyConfiguration(click.ClickException):
    """A configuration has faults: nothing was started; exit status 2, as for wrong usage."""

    exit_code = 2

    def __init__(self, error: ConfigError) -> None:
        super().__init__(str(error))
        self.faults = error.faults

    def show(self, file: IO[Any] | None = None) -> None:
        number = len(self.faults)
        noun = "fault" if number == 1 else "faults"
        click.echo(f"cloudcore: {number} {noun} in the configuration", file=file, err=True)
        for fault in self.faults:
            click.echo(f"  {fault}", file=file, err=True)

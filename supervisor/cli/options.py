"""The global options, which may stand before or after a command, and what they resolve to.

A command declares the options that it uses with the decorators of this file, and refuses the
others: none is ignored. That holds for the commands of other packages, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from supervisor.cli.commands import Group, option, option_group
from supervisor.host import paths
from supervisor.host.paths import Paths

if TYPE_CHECKING:
    from supervisor.config import Configuration

Function = TypeVar("Function", bound=Callable[..., Any])


class Globals:
    """The global options: the `obj` of every command's context."""

    def __init__(self, run_dir: Path | None = None, data_dir: Path | None = None) -> None:
        self.run_dir = run_dir
        self.data_dir_given = data_dir
        self.config: Path | None = None
        self.sets: list[str] = []
        self.given: dict[str, str] = {}
        """the flags before the command, by the names of their parameters"""

    def refuse_unused(self, command: click.Command) -> None:
        """Raise UsageError for an option before the command that the command does not use."""
        used = {parameter.name for parameter in command.params}
        unused = [flag for name, flag in self.given.items() if name not in used]
        if unused:
            uses = sorted(max(p.opts, key=len) for p in command.params if p.name in _NAMES)
            allowed = f"allowed: {', '.join(uses)}" if uses else "it has no global options"
            text = f"option {', '.join(unused)} not allowed for `{command.name}` ({allowed})"
            raise click.UsageError(text)

    def paths(self) -> Paths:
        """Return the directories that the options name, or the user's defaults."""
        return paths.resolve(self.run_dir, self.data_dir_given)

    @property
    def data_dir(self) -> Path:
        """The data directory, for commands of other packages."""
        return self.paths().data_dir

    def load(self) -> Configuration:
        """Load the configuration; raises FaultyConfiguration (exit status 2) for all its faults."""
        from supervisor.cli.faults import FaultyConfiguration
        from supervisor.config import ConfigError

        try:
            return self.load_again()
        except ConfigError as error:
            raise FaultyConfiguration(error) from error

    def load_running(self) -> Configuration:
        """Load the configuration of the running cloudcore, if there is one and none is given."""
        from supervisor import client

        with suppress(client.NotRunning, client.AdminError, paths.PathError):
            self.take_sources(client.request(self.paths().admin_socket, "GET", "/status"))
        return self.load()

    def take_sources(self, status: dict[str, Any]) -> None:
        """Take the --config and --set that the running cloudcore was started with, by its status.

        Nothing is taken if this command was given any, or if that cloudcore has another data
        directory. One of an older version does not say them.
        """
        given = self.given.keys() & {"config", "set"}
        if not given and "sets" in status and status["data_dir"] == str(self.data_dir):
            self.config = Path(status["config"]) if status["config"] else None
            self.sets = status["sets"]

    def load_again(self) -> Configuration:
        """Load the configuration from the same sources; raises ConfigError."""
        from supervisor.config import load

        return load(self.config, self.sets)


#: The parameters of the global options.
_NAMES: Final = frozenset({"run_dir", "data_dir", "config", "set", "verbosity", "log_format"})


class CheckedGroup(Group):
    """A group whose commands refuse global options before the command that they do not use."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        checked = isinstance(ctx.obj, Globals) and not ctx.resilient_parsing
        if command and checked and not isinstance(command, click.Group):
            ctx.obj.refuse_unused(command)
        return name, command, rest


Callback = Callable[[click.Context, click.Parameter, Any], None]


def _kept(keep: Callable[[Globals, Any], None]) -> Callback:
    """Make a callback that stores a given value in the context's Globals."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        options = ctx.ensure_object(Globals)
        if value:
            keep(options, value)
            assert parameter.name
            options.given[parameter.name] = max(parameter.opts, key=len)

    return callback


def _keep(name: str) -> Callback:
    return _kept(lambda options, value: setattr(options, name, value))


def _directory_option(flag: str, attribute: str, text: str) -> Callable[[Function], Function]:
    return option(
        flag,
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        expose_value=False,
        callback=_keep(attribute),
        help=text,
    )


def _run_dir(function: Function) -> Function:
    text = "Directory of the admin socket and the pid file."
    return _directory_option("--run-dir", "run_dir", text)(function)


def _data_dir(function: Function) -> Function:
    text = "Directory of what outlives cloudcore: certificates and state."
    return _directory_option("--data-dir", "data_dir_given", text)(function)


def run_dir_option(function: Function) -> Function:
    """Add --run-dir, for a command that reads nothing but what runs."""
    return _run_dir(function)


def directory_options(function: Function) -> Function:
    """Add --run-dir and --data-dir."""
    return option_group("Directories", _run_dir, _data_dir)(function)


def config_options(function: Function) -> Function:
    """Add --config and --set."""
    return option_group(
        "Configuration",
        option(
            "--config",
            metavar="FILE",
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            callback=_keep("config"),
            help="TOML file that overrides the defaults (see `cloudcore config default`).",
        ),
        option(
            "--set",
            metavar="KEY=VALUE",
            multiple=True,
            expose_value=False,
            callback=_kept(lambda options, values: options.sets.extend(values)),
            help="Override one key, such as modules.cloudhub.port=10010; can be repeated.",
        ),
    )(function)


def _set_verbosity(options: Globals, count: int) -> None:
    options.sets.append(f"log.verbosity={min(count, 2)}")


def _log_options(function: Function) -> Function:
    """Add --verbosity and --log-format."""
    return option_group(
        "Logs",
        option(
            "-v",
            "--verbosity",
            count=True,
            show_default=False,
            expose_value=False,
            callback=_kept(_set_verbosity),
            help="Log debug records too; -vv for those of libraries as well.",
        ),
        option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            expose_value=False,
            callback=_kept(lambda options, value: options.sets.append(f'log.format="{value}"')),
            help="Format of the log lines.",
        ),
    )(function)


def global_options(function: Function) -> Function:
    """Add all global options, in sections."""
    return config_options(directory_options(_log_options(function)))


def loading_options(function: Function) -> Function:
    """Add the global options that determine the configuration."""
    return config_options(_log_options(function))


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from supervisor.version import current

        click.echo(f"cloudcore {current()}")
        ctx.exit()


def version_option(function: Function) -> Function:
    """Add --version."""
    return option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        help="Print the version of cloudcore, and exit.",
    )(function)


def output_option(*forms: str, help: str = "") -> Callable[[Function], Function]:  # noqa: A002
    """Add -o; the first form is the default, and "json" is always one."""
    choices = list(dict.fromkeys([*forms, "json"]))
    return option(
        "-o",
        "--output",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help=help or "Output format; json has all fields, for programs.",
    )

"""The root of the command line, and the table of its commands."""

from __future__ import annotations

import click

from supervisor.cli.lazy import LazyCommand, LazyGroup
from supervisor.cli.options import global_options, version_option

COMMANDS = (
    LazyCommand(
        "run",
        "supervisor.cli.run:run",
        "Running",
        "Run cloudcore in the foreground, until SIGINT or SIGTERM.",
    ),
    LazyCommand(
        "status", "supervisor.cli.status:status", "Running", "Show the state of every module."
    ),
    LazyCommand(
        "stop",
        "supervisor.cli.stop:stop",
        "Running",
        "Stop cloudcore in order, and wait until it has exited.",
    ),
    LazyCommand(
        "reload",
        "supervisor.cli.control:reload",
        "Running",
        "Make the running cloudcore read its configuration again.",
    ),
    LazyCommand(
        "restart",
        "supervisor.cli.control:restart",
        "Modules",
        "Replace the process of modules, and wait until they are ready.",
    ),
    LazyCommand(
        "start",
        "supervisor.cli.control:start",
        "Modules",
        "Start modules that are stopped or have failed, and wait until they are ready.",
    ),
    LazyCommand(
        "enable",
        "supervisor.cli.control:enable",
        "Modules",
        "Run modules as if modules.enabled named them.",
    ),
    LazyCommand(
        "disable",
        "supervisor.cli.control:disable",
        "Modules",
        "Stop modules as if modules.enabled did not name them.",
    ),
    LazyCommand(
        "top",
        "supervisor.cli.top:top",
        "Inspecting",
        "Show live what modules, channels and edges use and handle.",
    ),
    LazyCommand(
        "logs",
        "supervisor.cli.logs:logs",
        "Inspecting",
        "Show the last lines that modules have written.",
    ),
    LazyCommand(
        "events",
        "supervisor.cli.logs:events",
        "Inspecting",
        "Show the state changes of modules.",
    ),
    LazyCommand(
        "crashes",
        "supervisor.cli.crashes:crashes",
        "Inspecting",
        "Show the crash reports.",
    ),
    LazyCommand(
        "dead-letters",
        "supervisor.cli.deadletters:dead_letters",
        "Inspecting",
        "List, replay or delete messages that were set aside.",
    ),
    LazyCommand(
        "doctor",
        "supervisor.cli.doctor:doctor",
        "Inspecting",
        "Check all that cloudcore needs, and say how to mend what is wrong.",
    ),
    LazyCommand(
        "config",
        "supervisor.cli.config:config",
        "Configuration",
        "Print, check or convert a configuration.",
    ),
    LazyCommand(
        "completion",
        "supervisor.cli.completion:completion",
        "Other",
        "Print a script that completes cloudcore's commands in a shell.",
    ),
    LazyCommand(
        "version",
        "supervisor.cli.version:version",
        "Other",
        "Print the versions of cloudcore, Python and the system.",
    ),
)


@click.group(
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    entry_points="cloudcore.commands",
    entry_points_section="Commands of modules",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="See `cloudcore COMMAND --help` for a command.",
)
@global_options
@version_option
def cloudcore() -> None:
    """Run and control the cloud side of KubeEdge, each of its modules in a process of its own.

    CloudHub holds the connections of edge nodes, EdgeController and DeviceController synchronize
    them with the Kubernetes API, and a supervisor starts, restarts and stops the modules.
    """

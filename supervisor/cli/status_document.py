"""The status document of a running cloudcore, as `cloudcore status` prints it."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any, Final

from supervisor import client
from supervisor.cli import status_table
from supervisor.cli.text_table import width_of_output

# Exit statuses, as LSB defines them for the action `status` of an init script.
ALL_READY: Final = 0
NOT_ALL_READY: Final = 1
NOT_RUNNING: Final = 3
UNKNOWN: Final = 4
#: 128 + SIGINT, as in a shell.
INTERRUPTED: Final = 130


def show(socket: Path, output: str) -> int:
    """Print the document once, or why there is none; return the exit status."""
    gc.disable()  # a collection takes 5 ms and frees next to nothing
    try:
        document = client.request(socket, "GET", "/status")
    except (client.NotRunning, client.AdminError) as error:
        return say_missing(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    print(text(document, output), flush=True)
    return exit_status(document)


def say_missing(error: client.NotRunning | client.AdminError) -> int:
    """Say on stderr why there is no document; return the exit status."""
    running = isinstance(error, client.AdminError)
    print(f"Error: {error}" if running else error, file=sys.stderr)
    return UNKNOWN if running else NOT_RUNNING


def text(document: dict[str, Any], output: str, *, one_line: bool = False) -> str:
    """Return a document in one of the output formats."""
    if output == "json":
        return json.dumps(document, indent=None if one_line else 2)
    if output == "yaml":
        import yaml

        shown: str = yaml.safe_dump(document, sort_keys=False, explicit_start=one_line)
        return shown.removesuffix("\n")
    return status_table.render(document, width_of_output())


def exit_status(document: dict[str, Any]) -> int:
    """Return the exit status that tells whether all enabled modules are ready."""
    return ALL_READY if document["state"] == "running" else NOT_ALL_READY

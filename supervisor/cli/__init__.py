"""The `cloudcore` command."""

import gc
import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status.

    Garbage collection is off during imports and at the end: it would take a quarter of the time of
    `cloudcore status`, and find nothing to free.
    """
    gc.disable()
    for stream in (sys.stdout, sys.stderr):  # None where a descriptor was closed at the start
        if isinstance(stream, io.TextIOWrapper):  # its encoding may not have a file's name
            stream.reconfigure(errors="backslashreplace")
    from supervisor.cli import stdout

    with stdout.guarded():
        try:
            sys.exit(_run())
        finally:
            gc.freeze()


def _run() -> int:
    """Run the command, by click unless it can do without, and return the exit status."""
    from supervisor.cli import without_click

    status = without_click.run(sys.argv[1:])
    if status is not None:
        return status
    from supervisor.cli.app import cloudcore

    gc.freeze()
    gc.enable()
    cloudcore(prog_name="cloudcore")
    raise AssertionError("click ends the process itself")

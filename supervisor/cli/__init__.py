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
    from supervisor.cli.app import cloudcore

    gc.freeze()
    gc.enable()
    stdout.guard()
    try:
        cloudcore(prog_name="cloudcore")
    finally:
        gc.freeze()
        stdout.flush()

"""The `cloudcore` command."""

import gc
import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its status.

    A quarter of what `cloudcore status` takes would go into collecting garbage among modules
    that are there to stay: none is collected while they are imported, and none at the end.
    """
    gc.disable()
    for stream in (sys.stdout, sys.stderr):  # None where a descriptor was closed at the start
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be no text of its encoding
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

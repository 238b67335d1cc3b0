"""`cloudcore run`: one supervisor's life, from the pid file to the exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from ipc.files import in_words
from supervisor.config import Configuration
from supervisor.fleet.control import Loader
from supervisor.fleet.fleet import CannotRun
from supervisor.fleet.shutdown import hold_signals
from supervisor.host import open_files, sockets
from supervisor.host.paths import PathError, Paths
from supervisor.run_directory import RunDirectory
from supervisor.supervisor import EXIT_CANNOT_RUN, Supervisor
from supervisor.telemetry import logs

log = logging.getLogger(__name__)


def run(configuration: Configuration, paths: Paths, load: Loader) -> int:
    """Run cloudcore in the foreground until a signal, and return its exit status.

    `load` reads the configuration again, for a reload.
    """
    _have_standard_streams()
    hold_signals()
    logs.setup("supervisor", **configuration.log.model_dump())
    try:
        enabled = [spec for spec in configuration.modules if spec.enabled]
        more = sum(spec.cls.processes(spec.config) - 1 for spec in enabled)
        open_files.raise_limit(len(configuration.modules) + more)
        paths.create()
        for spec in enabled:
            sockets.check_unix_paths(spec.name, spec.cls.unix_sockets(spec.config), paths.run_dir)
        with RunDirectory(paths) as run_directory:
            supervisor = Supervisor(configuration, paths, load, run_directory)
            return asyncio.run(supervisor.run())
    except (CannotRun, PathError) as error:
        log.critical("%s", error)
    except OSError as error:
        log.critical("%s", in_words(error))
    return EXIT_CANNOT_RUN


def _have_standard_streams() -> None:
    """Open /dev/null in place of standard descriptors that are closed.

    Otherwise the next file or socket would become descriptor 0, 1 or 2.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)

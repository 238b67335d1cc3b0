"""`cloudcore run`: one supervisor's life, from the pid file to the exit status."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from supervisor import logs, metrics
from supervisor.config import Configuration
from supervisor.paths import Paths
from supervisor.reload import Loader
from supervisor.shutdown import hold_signals
from supervisor.supervisor import EXIT_CANNOT_RUN, CannotRun, Supervisor

log = logging.getLogger(__name__)


def run(configuration: Configuration, paths: Paths, load: Loader) -> int:
    """Run cloudcore in the foreground until a signal; the process's exit status.

    `load` reads the configuration again, for a reload.
    """
    hold_signals()
    logs.setup("supervisor", **configuration.log.model_dump())
    try:
        paths.create()
        pid_file, metrics_dir = paths.run_dir / "cloudcore.pid", paths.run_dir / "metrics"
        with _only_one(pid_file), metrics.kept_in(metrics_dir):
            supervisor = Supervisor(configuration, paths, load)
            return asyncio.run(supervisor.run())
    except CannotRun as error:
        log.critical("%s", error)
        return EXIT_CANNOT_RUN


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the pid file while running; CannotRun if another cloudcore does.

    The lock on it, not its being there, says so: it ends with the process.
    """
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CannotRun(
                f"another cloudcore (process {file.read().strip()}) runs in {path.parent}: "
                "stop it, or use another --run-dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        path.unlink(missing_ok=True)

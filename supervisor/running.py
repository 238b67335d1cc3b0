"""`cloudcore run`: one supervisor's life, from the pid file to the exit status."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from supervisor import logs, metrics, sockets
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
    _have_standard_streams()
    hold_signals()
    logs.setup("supervisor", **configuration.log.model_dump())
    try:
        paths.create()
        for spec in configuration.modules:
            if spec.enabled:
                sockets.check_unix_paths(spec, paths.run_dir)
        pid_file, metrics_dir = paths.run_dir / "cloudcore.pid", paths.run_dir / "metrics"
        with _only_one(pid_file), metrics.kept_in(metrics_dir):
            supervisor = Supervisor(configuration, paths, load)
            return asyncio.run(supervisor.run())
    except (CannotRun, OSError) as error:
        log.critical("%s", getattr(error, "strerror", None) or error)
        return EXIT_CANNOT_RUN


def _have_standard_streams() -> None:
    """Let nothing else be opened as descriptor 0, 1 or 2, if they were closed at the start."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the pid file while running; CannotRun if another cloudcore does.

    The lock on it, not its being there, says so: it ends with the process.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("a+"))
        while not _lock(file, path):  # its holder has just removed it
            file = stack.enter_context(path.open("a+"))
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        path.unlink(missing_ok=True)


def _lock(file: IO[str], path: Path) -> bool:
    """Lock the pid file; False if it is not the one of that path any more."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise CannotRun(
            f"another cloudcore (process {file.read().strip()}) runs in {path.parent}: "
            "stop it, or use another --run-dir"
        ) from None
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())

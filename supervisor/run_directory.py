"""The run directory of a running cloudcore: locked, filled, and restored when it is removed.

Cleaners of temporary files remove it, and so does the end of a login session (XDG_RUNTIME_DIR). It
then has to be restored while everything runs: without it the admin socket is unreachable, and a
module that starts cannot write its metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from functools import partial
from types import TracebackType
from typing import Final, Self

from ipc.background import kept_running
from ipc.files import in_words, replace_file
from supervisor.admin.server import AdminServer
from supervisor.fleet.fleet import Fleet
from supervisor.host.directory_lock import Held
from supervisor.host.paths import PathError, Paths, make_private
from supervisor.telemetry import process_metrics

log = logging.getLogger(__name__)

#: Seconds between two checks that the directory still exists.
CHECK_INTERVAL: Final = 5.0


class RunDirectory:
    """The lock on the run directory and on the data directory, held while entered.

    Entering raises PathError if another cloudcore uses one of them, and OSError.
    """

    def __init__(self, paths: Paths) -> None:
        self.path = paths.run_dir
        self._metrics_dir = paths.metrics_dir
        self._paths = paths
        self._pid_file = paths.run_dir / "cloudcore.pid"
        self._held: Held
        self._end: contextlib.ExitStack

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._held = Held(self.path, "--run-dir")
            stack.callback(self._release)
            if not self.path.samefile(self._paths.data_dir):
                stack.callback(Held(self._paths.data_dir, "--data-dir").close)
            stack.callback(self._pid_file.unlink, missing_ok=True)
            self._write_pid()
            stack.enter_context(process_metrics.kept_in(self._metrics_dir))
            self._end = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.close()

    def restore(self) -> None:
        """Make what is missing again, and log it; raises OSError."""
        restored = []
        if not self._held.intact:
            self._hold_again()
            restored.append(str(self.path))
        if not self._pid_file.exists():
            self._write_pid()
            restored.append(self._pid_file.name)
        if not self._metrics_dir.exists():
            self._metrics_dir.mkdir(mode=0o700)
            restored.append(self._metrics_dir.name)
        if restored:
            listed = ", ".join(restored)
            log.warning("the run directory was removed, or files in it: restored %s", listed)

    def _release(self) -> None:
        self._held.close()

    def _hold_again(self) -> None:
        try:
            make_private(self.path, "--run-dir")
            held = Held(self.path, "--run-dir")
        except PathError as error:
            text = f"cannot restore the run directory: {error}"
            raise OSError(errno.ENOENT, text) from error
        self._held.close()
        self._held = held

    def _write_pid(self) -> None:
        replace_file(self._pid_file, f"{os.getpid()}\n".encode(), 0o644, sync=False)


def kept(
    run_directory: RunDirectory, fleet: Fleet, admin: AdminServer
) -> contextlib.AbstractAsyncContextManager[None]:
    """Watch the run directory and restore what is removed from it, while entered.

    It has to be left before the admin server is closed, which removes its own socket.
    """
    work = partial(_keep, run_directory, fleet, admin)
    return kept_running("the watch over the run directory", work)


async def _keep(run_directory: RunDirectory, fleet: Fleet, admin: AdminServer) -> None:
    """Check the run directory every CHECK_INTERVAL seconds, and restore what is missing."""
    logged = ""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        try:
            run_directory.restore()
            _restore_run_records(fleet)
            if await admin.restore():
                log.warning("the admin socket was removed: listening on %s again", admin.path)
            logged = ""
        except OSError as error:
            text = in_words(error)
            if text != logged:
                log.error("%s; until that works, no command reaches this cloudcore", text)
            logged = text


def _restore_run_records(fleet: Fleet) -> None:
    """Write missing run records again, for the next supervisor if this one is killed."""
    for unit in fleet.units.values():
        if (
            unit.process
            and not unit.process.shared_state.cleaned
            and not fleet.run_records.has(unit.name)
        ):
            fleet.run_records.begin(unit.name, unit.process.pid)
            if unit.process.shared_state.cleaned:  # it has just removed its record itself
                fleet.run_records.end(unit.name)

"""The parent process: runs the fleet of modules until a signal, and shuts it down in order.

    signal --> Supervisor --> Fleet --> Unit --> ModuleProcess == fork ==> child.run_module
                   |            |         |            |                        |
              admin socket    events    states   pidfd, shared state <-- Module.start: ready,
                                                                         details, last words

It carries no message: those go from module to module through the channels (ipc/).
"""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import Final

from ipc.files import in_words
from supervisor import banner, run_directory
from supervisor.admin.server import AdminServer
from supervisor.config import Configuration
from supervisor.fleet.control import Control, Loader
from supervisor.fleet.fleet import CannotRun, Fleet
from supervisor.fleet.shutdown import Shutdown
from supervisor.fleet.trouble_watch import watched
from supervisor.host import orphans
from supervisor.host.paths import Paths
from supervisor.host.systemd import Systemd
from supervisor.run_directory import RunDirectory
from supervisor.telemetry import process_metrics
from supervisor.unit import process
from supervisor.unit.states import State

EXIT_CANNOT_RUN: Final = 1


class Supervisor:
    """One cloudcore: wires the fleet, the admin interface, the shutdown and the host."""

    def __init__(
        self,
        configuration: Configuration,
        paths: Paths,
        load: Loader,
        run_directory: RunDirectory,
    ) -> None:
        self._run_directory = run_directory
        self._lifeline, self._lifeline_held = os.pipe2(os.O_CLOEXEC)
        self.fleet = Fleet(configuration, paths, self._lifeline, owner=self)
        self._systemd = Systemd()
        self._shutdown = Shutdown(self.fleet, self._systemd)
        self._control = partial(Control, self.fleet, load, self._systemd)

    async def run(self) -> int:
        """Start everything, run until a signal, shut down in order, and return the exit status."""
        loop = asyncio.get_running_loop()
        orphans.reap_by(loop, ours=process.living)
        self._shutdown.listen(loop)
        try:
            return await self._run()
        finally:
            os.close(self._lifeline_held)  # modules that still run stop on their own

    async def _run(self) -> int:
        fleet, configuration = self.fleet, self.fleet.configuration
        try:
            admin = await AdminServer(fleet, self._control, self._shutdown).start()
        except (OSError, ValueError, OverflowError) as error:
            reason = in_words(error) if isinstance(error, OSError) else error
            raise CannotRun(f"cannot start the admin interface: {reason}") from error
        kept = run_directory.kept(self._run_directory, fleet, admin)
        async with admin, kept, watched(fleet.units):
            self._systemd.keep_alive(asyncio.get_running_loop())
            uncleaned = await fleet.run_records.end_leftovers(configuration.stop_timeout)
            for spec in configuration.modules:
                fleet.register(spec)
            for name in uncleaned:
                await fleet.clean_up_leftover(name)
            await fleet.start()
            exit_status = await self._shutdown.wait()
        fleet.run_records.close()
        return exit_status

    # What the fleet reports and asks (fleet.Owner)

    def prepare_launch(self, name: str) -> None:
        self._run_directory.restore()
        process_metrics.forget_gauges(name, self.fleet.paths.metrics_dir)

    def unit_changed(self) -> None:
        units = self.fleet.units.values()
        ready = sum(unit.state is State.READY for unit in units)
        self._systemd.status(f"{ready} of {len(units)} modules ready")

    def all_tried(self) -> None:
        self._systemd.ready()
        banner.show(self.fleet)

    def end(self, exit_status: int) -> None:
        self._shutdown.begin(signal.SIGTERM, exit_status)

"""The parent process: registers the modules, starts them, and shuts them down in order.

    signal --> Supervisor --> Unit --> ModuleProcess == fork ==> child.run_module --> Module.start
                   |            |            |                         |
               admin socket   states      pidfd, page <-- ready, details, last words

It carries no message: those go from module to module through the channels (ipc/).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import time
from functools import partial
from typing import Final

import msgspec

from ipc import ChannelRegistry, ChannelState, DeadLetterBox
from supervisor import (
    banner,
    run_directory,
)
from supervisor.admin import (
    metrics,
    status,
)
from supervisor.admin.server import AdminServer
from supervisor.api import Settings
from supervisor.config import Configuration, ModuleSpec
from supervisor.fleet.reload import Loader
from supervisor.fleet.shutdown import Shutdown
from supervisor.host import (
    orphans,
    sockets,
)
from supervisor.host.oom import OomKills
from supervisor.host.paths import Paths
from supervisor.host.run_records import RunRecords
from supervisor.host.systemd import Systemd
from supervisor.run_directory import RunDirectory
from supervisor.telemetry import (
    crash_reports,
    logs,
)
from supervisor.telemetry.crash_reports import (
    CrashReport,
    CrashReports,
)
from supervisor.telemetry.events import EventLog
from supervisor.telemetry.output import (
    Console,
    Follower,
    ModuleOutput,
    Output,
    OutputHandler,
)
from supervisor.unit import process
from supervisor.unit.launch import (
    LaunchSpec,
    make_launch_spec,
)
from supervisor.unit.process import ModuleProcess
from supervisor.unit.restarts import (
    Cause,
    Restart,
)
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

EXIT_CANNOT_RUN: Final = 1
EXIT_ESSENTIAL_FAILED: Final = 1
EXIT_BUG: Final = 70  # EX_SOFTWARE of sysexits.h


class CannotRun(Exception):
    """cloudcore as a whole cannot run, and why."""


class Supervisor:
    """All modules of one cloudcore, under one parent."""

    def __init__(
        self,
        configuration: Configuration,
        paths: Paths,
        load: Loader,
        run_directory: RunDirectory,
    ) -> None:
        self.configuration = configuration
        self.paths = paths
        self.load = load
        """reads the configuration again, from where it was read first"""
        self.started_at = time.time()
        self.began = time.monotonic()
        self.registry = ChannelRegistry(
            max_deliveries=configuration.max_deliveries,
            dead_letters=paths.dead_letters_dir,
        )
        self.dead_letters = DeadLetterBox(paths.dead_letters_dir)
        self.units: dict[str, Unit] = {}
        self.disabled: dict[str, tuple[ModuleSpec, str]] = {}
        """modules that are not enabled, and why"""
        self.events = EventLog()
        self.crashes = CrashReports(paths.crashes_dir, configuration.supervisor.crash_reports)
        self.lives = RunRecords(paths.run_dir / "lives")
        self.run_directory = run_directory
        console = Console()
        self.output_followers: list[Follower] = [lambda _, data: console.write(data)]
        self.own_output = Output("supervisor", self.output_followers)
        self.set_up_logs()
        self.changing = asyncio.Lock()
        """one change of what runs at a time: a reload, or a verb of the admin socket"""
        self.shutdown = Shutdown(self)
        self.systemd = Systemd()
        self._oom = OomKills()
        self._lifeline, self._lifeline_held = os.pipe2(os.O_CLOEXEC)
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.started = False
        """every module has been tried: it has been up, has died once, or will not start"""
        self._start_begun = False

    def set_up_logs(self) -> None:
        """Log as configured, the same way as what modules write."""
        handler = OutputHandler(self.own_output)
        logs.setup("supervisor", **self.configuration.log.model_dump(), handler=handler)

    @property
    def settings(self) -> Settings:
        """What modules may know of the whole."""
        return Settings(self.paths.data_dir, self.paths.run_dir, self.configuration.kubernetes)

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def stopping(self) -> bool:
        return self.shutdown.begun

    # Registering

    def register(self, spec: ModuleSpec) -> None:
        """Take a module in: its channels are made, and its listening sockets opened.

        A module that is not enabled is only known, so that sending to it is told from a typo.
        """
        reason = self.why_disabled(spec)
        if reason:
            log.info("module %s is not registered: %s", spec.name, reason)
            self.disable(spec, reason)
            return
        try:
            listening = sockets.open_all(spec.cls.listeners(spec.config))
        except OSError as error:
            raise CannotRun(f"module {spec.name}: {error}") from error
        self.add_units(spec, listening)

    def preload(self) -> None:
        """Import once what the processes of modules would import, each and again and again."""
        for unit in self.units.values():
            for name in unit.module.preload:
                try:
                    importlib.import_module(name)
                except Exception:  # the module's own attempt tells what is to be done about it
                    log.warning("module %s: %s cannot be preloaded", unit.name, name, exc_info=True)
        gc.freeze()  # a collection would write to pages that the modules share

    def add_units(self, spec: ModuleSpec, listening: sockets.Sockets, first: int = 1) -> list[Unit]:
        """Make the units of a module, one for each of its processes from the first on."""
        self.disabled.pop(spec.name, None)
        units = []
        for number in range(first, spec.cls.processes(spec.config) + 1):
            name = spec.name if number == 1 else f"{spec.name}-{number}"
            self.registry.add_module(name, spec.cls.group if number == 1 else "")
            unit = Unit(
                name=name,
                module=spec.cls(spec.config, self.settings),
                supervision=spec.supervision,
                line=self.registry.mailbox(name),
                sockets=listening,
                output=ModuleOutput(name, self.output_followers),
                host=self,
            )
            self.units[name] = unit
            unit.enable()
            units.append(unit)
            log.info("module %s registered", name)
        return units

    def disable(self, spec: ModuleSpec, reason: str) -> None:
        """Know a module, though it does not run: sending to it is told from a typo."""
        self.registry.add_module(spec.name, spec.cls.group)
        self.registry.set_state(spec.name, ChannelState.DISABLED)
        self.disabled[spec.name] = (spec, reason)

    def why_disabled(self, spec: ModuleSpec, settings: Settings | None = None) -> str | None:
        """Say why a module is not to run; None if it is."""
        if not spec.enabled:
            return spec.why_disabled
        return spec.cls.not_needed(settings or self.settings)

    # Running

    async def run(self) -> int:
        """Start everything, stay until a signal, shut down in order; the exit status."""
        loop = asyncio.get_running_loop()
        orphans.reap_by(loop, ours=process.living)
        self.shutdown.listen(loop)
        try:
            return await self._run()
        finally:
            os.close(self._lifeline_held)  # what still lives is on its own

    async def _run(self) -> int:
        try:
            admin = await AdminServer(self).start()
        except (OSError, ValueError, OverflowError) as error:
            raise CannotRun(f"the admin interface: {error}") from error
        async with admin:
            self.systemd.keep_alive(asyncio.get_running_loop())
            self._keep(asyncio.create_task(run_directory.keep(self, admin)))
            uncleaned = await self.lives.end_leftovers(self.configuration.stop_timeout)
            for spec in self.configuration.modules:
                self.register(spec)
            if self.configuration.supervisor.preload:
                self.preload()
            for name in uncleaned:
                await self._clean_up_leftover(name)
            self.start_modules()
            exit_status = await self.shutdown.wait()
        self.lives.close()
        return exit_status

    async def _clean_up_leftover(self, name: str) -> None:
        log.warning("module %s was not cleaned up after in an earlier run", name)
        if name in self.units:
            await self.units[name].clean_up()
        else:
            log.error("module %s does not run any more: its cleanup is left out", name)
        self.lives.end(name)

    def start_modules(self) -> None:
        """Start every registered module, each one when those it comes after are ready."""
        for unit in list(self.units.values()):
            self.start_in_turn(unit)
        self._start_begun = True
        self._tell_how_it_goes()

    def start_in_turn(self, unit: Unit, cause: Cause | None = None) -> None:
        """Start a module as soon as those that it comes after are ready."""
        self.cancel_turn(unit)
        if self.stopping:
            return
        unit.waits_for = self._not_ready_before(unit)
        if unit.waits_for:
            log.info("module %s %s", unit.name, unit.reason)
            self._turns[unit.name] = asyncio.create_task(self._start_later(unit, cause))
        else:
            self._start(unit, cause)

    def cancel_turn(self, unit: Unit) -> None:
        """Give up a start that waits for others."""
        if turn := self._turns.pop(unit.name, None):
            turn.cancel()
        unit.waits_for = None

    def before(self, unit: Unit) -> list[Unit]:
        """Those that have to be ready before this one starts."""
        names = unit.supervision.after
        return [other for other in self.units.values() if other.module.name in names]

    def _not_ready_before(self, unit: Unit) -> Unit | None:
        before = self.before(unit)
        return next((other for other in before if other.state is not State.READY), None)

    async def _start_later(self, unit: Unit, cause: Cause | None) -> None:
        while other := self._not_ready_before(unit):
            unit.waits_for = other
            await self.events.until(partial(self._moves_on, unit, other))
        self._start(unit, cause)

    def _moves_on(self, unit: Unit, waits_for: Unit) -> bool:
        return self._not_ready_before(unit) is not waits_for

    def _start(self, unit: Unit, cause: Cause | None) -> None:
        log.info("starting module %s", unit.name)
        unit.start(cause)

    # What units tell and ask (unit.Host)

    def birth(self, unit: Unit) -> LaunchSpec:
        self.run_directory.restore()
        metrics.forget_gauges(unit.name, self.run_directory.metrics_dir)
        return make_launch_spec(self, unit, self._lifeline)

    def changed(self, unit: Unit, old: State) -> None:
        pid = unit.process.pid if unit.process else None
        self.events.add(unit.name, old, unit.state, unit.reason, pid)
        loud = unit.state in {State.CRASHED, State.FAILED}
        note = f" ({unit.reason})" if unit.reason else ""
        level = logging.ERROR if loud else logging.INFO
        if unit.repeats or old is State.DISABLED:  # "registered" says the latter already
            level = logging.DEBUG
        log.log(level, "module %s: %s -> %s%s", unit.name, old, unit.state, note)
        self._refuse_connections()
        if unit.state is State.READY:
            self.crashes.write_rest()
        if self.stopping:
            return
        if unit.state is State.CRASHED:
            self._restart_others(unit)
        elif unit.state is State.FAILED and unit.supervision.essential:
            log.critical("module %s is essential, and has failed for good", unit.name)
            self.shutdown.begin(signal.SIGTERM, exit_status=EXIT_ESSENTIAL_FAILED)
        self._tell_how_it_goes()

    def _refuse_connections(self) -> None:
        """Let no client wait for modules that accept no connections for a while."""
        units = self.units.values()
        present = {unit.module.name for unit in units if not unit.away}
        for unit in units:
            if unit.module.name not in present:
                sockets.refuse(unit.sockets)

    def died(
        self, unit: Unit, process: ModuleProcess, code: int, reason: str, output_since: int
    ) -> CrashReport:
        unit.output.drain()
        oom_killed = self._oom.happened() and code == -signal.SIGKILL and not reason
        report = crash_reports.describe(
            unit, process, code, reason, oom_killed=oom_killed, since=output_since
        )
        last = unit.last_exit
        lasts = report.temporary and report.state == State.STARTING
        if lasts and last and last.reason == report.reason:  # one report is enough
            return msgspec.structs.replace(report, id=last.id)
        try:
            self.crashes.put(report)
        except Exception as error:  # what is only told ends nothing
            log.error("no crash report of module %s: %s", unit.name, error)
        return report

    def _restart_others(self, died: Unit) -> None:
        """Do what the strategy of a module that has died says (supervisor.erl's words)."""
        strategy = died.supervision.strategy
        order = sorted(self.units.values(), key=lambda unit: unit.first_started)
        later = order[order.index(died) + 1 :]
        others = {"one_for_one": [], "one_for_all": order, "rest_for_one": later}[strategy]

        async def settled() -> None:
            await self.events.until(lambda: died.settled)

        why = f"{died.name} has died: {strategy}"
        restart = Restart(Cause.STRATEGY, why, gate=settled)
        for other in reversed(others):
            if other is not died and other.state in {State.STARTING, State.READY}:
                self._keep(asyncio.create_task(other.restart(restart)))

    def _tell_how_it_goes(self) -> None:
        units = self.units.values()
        ready = sum(unit.state is State.READY for unit in units)
        self.systemd.status(f"{ready} of {len(units)} modules ready")
        if self._start_begun and not self.started and all(unit.tried for unit in units):
            self.started = True
            self.systemd.ready()
            banner.show(self)

    def give_up(self) -> None:
        self.shutdown.begin(signal.SIGTERM, exit_status=EXIT_BUG)

    def status(self) -> status.Status:
        """What `cloudcore status -o json` shows."""
        return status.render(self)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

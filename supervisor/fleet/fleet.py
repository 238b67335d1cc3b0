"""The fleet: the units of one cloudcore, their records, and what follows the crash of one."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import signal
import time
from functools import partial
from typing import Final, Protocol

import msgspec

from ipc import ChannelRegistry, ChannelState, DeadLetterBox
from ipc.files import in_words
from supervisor.api import Module, Settings
from supervisor.config import ConfigError, Configuration, ModuleSpec, references
from supervisor.fleet import making
from supervisor.fleet.restart_strategies import RestartStrategies
from supervisor.fleet.start_order import StartOrder
from supervisor.host import sockets
from supervisor.host.oom import OomKills
from supervisor.host.paths import Paths
from supervisor.host.run_records import RunRecords
from supervisor.telemetry import logs
from supervisor.telemetry.crash_reports import CrashReport, CrashReports
from supervisor.telemetry.output import Console, Follower, ModuleOutput, Output, OutputHandler
from supervisor.telemetry.state_changes import StateChangeLog
from supervisor.unit import post_mortem
from supervisor.unit.launch import Launcher, LaunchSpec
from supervisor.unit.process import ModuleProcess
from supervisor.unit.restart_policy import Cause
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

EXIT_ESSENTIAL_FAILED: Final = 1
EXIT_BUG: Final = 70  # EX_SOFTWARE of sysexits.h


class CannotRun(Exception):
    """cloudcore as a whole cannot run, and why."""


class Interrupted(Exception):
    """A shutdown began in the middle of a change; what was not changed by then stays as it is."""


class Owner(Protocol):
    """What a fleet needs of the supervisor."""

    def prepare_launch(self, name: str) -> None:
        """Prepare the run directory for a new process of the unit; raises OSError."""

    def unit_changed(self) -> None:
        """Take notice of a change of a unit's state."""

    def all_tried(self) -> None:
        """Take notice that the start is complete; called once."""

    def end(self, exit_status: int) -> None:
        """Shut down: cloudcore cannot go on."""


class Fleet:
    """All units of one cloudcore. Control, reload, Shutdown and the admin interface work on it."""

    def __init__(
        self, configuration: Configuration, paths: Paths, lifeline: int, owner: Owner
    ) -> None:
        self.configuration = configuration
        """the one in force"""
        self.paths = paths
        self.started_at = time.time()
        self.began = time.monotonic()
        self.registry = ChannelRegistry(
            max_deliveries=configuration.max_deliveries,
            dead_letters=paths.dead_letters_dir,
        )
        self.dead_letters = DeadLetterBox(paths.dead_letters_dir)
        self.units: dict[str, Unit] = {}
        self.disabled: dict[str, tuple[ModuleSpec, str]] = {}
        """modules that do not run, and why"""
        self.state_changes = StateChangeLog()
        self.crashes = CrashReports(paths.crashes_dir, configuration.supervisor.crash_reports)
        self.run_records = RunRecords(paths.run_dir / "runs")
        console = Console()
        self.output_followers: list[Follower] = [lambda _, data: console.write(data)]
        self.own_output = Output("supervisor", self.output_followers)
        self.changing = asyncio.Lock()
        """held by the verb or the reload that is changing what runs: one at a time"""
        self.started = False
        """whether every unit was tried: it was ready, has crashed, or will not start"""
        self.stopping = False
        """whether a shutdown has begun"""
        self._lifeline = lifeline
        self._owner = owner
        self._oom = OomKills()
        self._order = StartOrder(self.units, self.state_changes, self._moved, self.give_up)
        self._strategies = RestartStrategies(self.units, self.state_changes, self.give_up)
        self._start_begun = False
        self._set_up_logs()

    @property
    def settings(self) -> Settings:
        """What modules may know of the whole."""
        return self.settings_of(self.configuration)

    def settings_of(self, configuration: Configuration) -> Settings:
        """Return the settings that modules would get under a configuration."""
        return references.settings_of(configuration, self.paths)

    def adopt(self, configuration: Configuration) -> None:
        """Put a configuration in force; the caller changes the units."""
        self.configuration = configuration
        self._set_up_logs()
        self.crashes.keep = configuration.supervisor.crash_reports

    def _set_up_logs(self) -> None:
        """Log as configured, with the same output as the modules."""
        handler = OutputHandler(self.own_output)
        logs.setup("supervisor", **self.configuration.log.model_dump(), handler=handler)

    # Which units there are

    def register(self, spec: ModuleSpec) -> None:
        """Create a module's channels and units, and open its listening sockets.

        A disabled module still gets a channel, so that sending to it can be told apart from a
        misspelt name. Raises CannotRun if a socket cannot be opened, or the module not be made.
        """
        reason = self.why_disabled(spec)
        if reason:
            log.info("module %s is not registered: %s", spec.name, reason)
            self.disable(spec, reason)
            return
        try:
            module = making.make(spec, self.configuration, self.settings)
            listening = sockets.open_all(spec.cls.listeners(spec.config, self.settings))
        except ConfigError as error:
            raise CannotRun(str(error)) from error
        except OSError as error:
            raise CannotRun(f"module {spec.name}: {in_words(error)}") from error
        self.add(spec, module, listening)

    def add(
        self, spec: ModuleSpec, module: Module, listening: sockets.Sockets, first: int = 1
    ) -> list[Unit]:
        """Create the units of a module, one for each of its processes from number `first` on."""
        self.disabled.pop(spec.name, None)
        units = []
        for number in range(first, spec.cls.processes(spec.config) + 1):
            name = spec.name if number == 1 else f"{spec.name}-{number}"
            self.registry.add_module(name, spec.cls.group if number == 1 else "")
            unit = Unit(
                name=name,
                module=module,
                supervision=spec.supervision,
                mailbox=self.registry.mailbox(name),
                sockets=listening,
                output=ModuleOutput(name, self.output_followers),
                host=self,
            )
            self.units[name] = unit
            unit.enable()
            units.append(unit)
            log.info("module %s registered", name)
        return units

    async def remove(self, unit: Unit) -> None:
        """Stop a unit for good and release its resources; Interrupted if a shutdown begins."""
        self.cancel_turn(unit)
        await unit.stop(signal.SIGTERM, unit.supervision.stop_timeout, "disabled")
        self.check_not_stopping()
        del self.units[unit.name]
        unit.disable()
        unit.output.drain()
        unit.output.close()
        if not self.units_of(unit.module.name):
            sockets.close_all(unit.sockets)

    def units_of(self, module: str) -> list[Unit]:
        """Return the units of a module, one for each of its processes."""
        return [unit for unit in self.units.values() if unit.module.name == module]

    def sort(self) -> None:
        """Put the units in the order of the configuration's modules."""
        order = [spec.name for spec in self.configuration.modules]
        units = sorted(self.units.values(), key=lambda unit: order.index(unit.module.name))
        self.units.clear()
        self.units.update((unit.name, unit) for unit in units)

    def disable(self, spec: ModuleSpec, reason: str) -> None:
        """Record that a module does not run; its channel refuses messages with the reason."""
        self.registry.add_module(spec.name, spec.cls.group)
        self.registry.set_state(spec.name, ChannelState.DISABLED)
        self.disabled[spec.name] = (spec, reason)

    def why_disabled(self, spec: ModuleSpec, settings: Settings | None = None) -> str | None:
        """Return why a module does not run; None if it does."""
        if not spec.enabled:
            return spec.why_disabled
        return spec.cls.not_needed(settings or self.settings)

    def check_not_stopping(self) -> None:
        """Raise Interrupted if a shutdown has begun."""
        if self.stopping:
            raise Interrupted("cloudcore is stopping")

    # Starting

    async def clean_up_leftover(self, name: str) -> None:
        """Run the cleanup of a module whose process an earlier supervisor left behind."""
        if name in self.units:
            log.warning("module %s: running the cleanup that an earlier run did not", name)
            await self.units[name].clean_up()
        else:
            text = "module %s: an earlier run did not clean up, and the module is not enabled now"
            log.error(text, name)
        self.run_records.end(name)

    async def start(self) -> None:
        """Start every unit as soon as the units that it comes after are ready.

        With `preload`, what a module needs is imported just before it is started: meanwhile those
        before it become ready, and restarts are fast and share the memory of all of it.
        """
        for unit in list(self.units.values()):
            if self.configuration.supervisor.preload:
                _preload(unit)
            if self.units.get(unit.name) is unit and not unit.first_started:
                self.start_in_turn(unit)
            await asyncio.sleep(0)  # the unit's process is forked before the next imports
        gc.enable()
        self._start_begun = True
        self._report_progress()

    def start_in_turn(self, unit: Unit, cause: Cause | None = None) -> None:
        """Start a unit as soon as the units that it comes after are ready."""
        if self.stopping:
            self._order.cancel(unit)
        else:
            self._order.start(unit, cause)

    def cancel_turn(self, unit: Unit) -> None:
        """Cancel a start that waits for other units."""
        self._order.cancel(unit)

    def before(self, unit: Unit) -> list[Unit]:
        """Return the units that have to be ready before this one starts."""
        return self._order.before(unit)

    # What units report and ask (unit.Host)

    def launch_spec(self, unit: Unit) -> LaunchSpec:
        self._owner.prepare_launch(unit.name)
        set_up_logs = partial(logs.setup, **self.configuration.log.model_dump())
        launcher = Launcher(self.registry, self.run_records, self._lifeline, set_up_logs)
        return launcher.spec(unit.name, unit.module, unit.supervision, unit.sockets, unit.output)

    def changed(self, unit: Unit, old: State) -> None:
        pid = unit.process.pid if unit.process else None
        self.state_changes.add(unit.name, old, unit.state, unit.reason, pid)
        _log_change(unit, old)
        self._refuse_connections()
        if unit.state is State.READY:
            self.crashes.write_rest()
        if self.stopping:
            return
        if unit.state is State.CRASHED:
            self._strategies.apply(unit)
        elif unit.state is State.FAILED and unit.supervision.essential:
            log.critical("module %s is essential and has failed for good: stopping", unit.name)
            self._owner.end(EXIT_ESSENTIAL_FAILED)
        self._report_progress()

    def died(
        self, unit: Unit, process: ModuleProcess, code: int, reason: str, output_since: int
    ) -> CrashReport:
        unit.output.drain()
        oom_killed = self._oom.happened() and code == -signal.SIGKILL and not reason
        report = post_mortem.describe(
            unit, process, code, reason, oom_killed=oom_killed, since=output_since
        )
        last = unit.last_exit
        lasts = report.temporary and report.state == State.STARTING
        if lasts and last and last.reason == report.reason:  # one report is enough
            return msgspec.structs.replace(report, id=last.id)
        try:
            self.crashes.put(report)
        except Exception as error:  # a report that cannot be written must not stop the restart
            log.error("module %s: cannot write a crash report: %s", unit.name, error)
        return report

    def give_up(self) -> None:
        self._owner.end(EXIT_BUG)

    def _refuse_connections(self) -> None:
        """Refuse connections to modules that will not accept any soon."""
        units = self.units.values()
        present = {unit.module.name for unit in units if not unit.away}
        for unit in units:
            if unit.module.name not in present:
                sockets.refuse(unit.sockets)

    def _moved(self) -> None:
        """Look again who is settled: a unit waits for another one than before."""
        self.state_changes.look_again()
        self._report_progress()

    def _report_progress(self) -> None:
        self._owner.unit_changed()
        if self._start_begun and not self.started:
            self.started = all(unit.tried for unit in self.units.values())
            if self.started:
                self._owner.all_tried()


def _preload(unit: Unit) -> None:
    for name in unit.module.preload:
        try:
            importlib.import_module(name)
        except Exception:  # the module's own import says what to do about it
            log.warning("module %s: cannot preload %s", unit.name, name, exc_info=True)
    gc.freeze()  # a collection would write to memory pages that the modules share


def _log_change(unit: Unit, old: State) -> None:
    loud = unit.state in {State.CRASHED, State.FAILED}
    level = logging.ERROR if loud else logging.INFO
    if unit.repeats or old is State.DISABLED:  # "registered" has been logged instead
        level = logging.DEBUG
    note = f" ({unit.reason})" if unit.reason else ""
    log.log(level, "module %s: %s -> %s%s", unit.name, old, unit.state, note)

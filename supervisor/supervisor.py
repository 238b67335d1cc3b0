"""The parent process: registers the modules, starts them, and shuts them down in order.

    signal --> Supervisor --> Unit --> ModuleProcess == fork ==> child.run_module --> Module.start
                   |            |            |                         |
               admin socket   states      pidfd, page <-- ready, details, last words

It carries no message: those go from module to module through the channels (ipc/).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from ipc import ChannelState, Registry
from supervisor import banner, logs, sockets
from supervisor.admin import AdminServer
from supervisor.child import STOP_SIGNALS, Birth
from supervisor.config import Configuration, ModuleSpec
from supervisor.module import Settings
from supervisor.page import Page
from supervisor.paths import Paths
from supervisor.states import State
from supervisor.status import render
from supervisor.unit import Unit

log = logging.getLogger(__name__)

#: beehive shuts down on these too (vendor/github.com/kubeedge/beehive/pkg/core/core.go).
_SHUTDOWN_SIGNALS: Final = (*STOP_SIGNALS, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT)

EXIT_CANNOT_RUN: Final = 1


class CannotRun(Exception):
    """cloudcore as a whole cannot run, and why."""


class Supervisor:
    """All modules of one cloudcore, under one parent."""

    def __init__(self, configuration: Configuration, paths: Paths) -> None:
        self.configuration = configuration
        self.paths = paths
        self.started_at = time.time()
        self.settings = Settings(paths.data_dir, paths.run_dir, configuration.kubernetes)
        self.registry = Registry(
            max_deliveries=configuration.max_deliveries,
            dead_letters=paths.data_dir / "dead-letters",
        )
        self.units: dict[str, Unit] = {}
        self.disabled: dict[str, ModuleSpec] = {}
        self.stopping = False
        self._lifeline, self._lifeline_held = os.pipe2(os.O_CLOEXEC)
        self._shutdown: asyncio.Future[int] | None = None
        self._starting: list[asyncio.Task[None]] = []
        self._started: list[Unit] = []

    def register(self, spec: ModuleSpec) -> None:
        """Take a module in: its channels are made, and its listening sockets opened.

        A module that is not enabled is only known, so that sending to it is told from a typo.
        """
        self.registry.add_module(spec.name, spec.cls.group)
        reason = self._why_disabled(spec)
        if reason:
            self.disabled[spec.name] = spec
            self.registry.set_state(spec.name, ChannelState.DISABLED)
            log.info("module %s is not registered: %s", spec.name, reason)
            return
        try:
            listening = sockets.open_all(spec.cls.listeners(spec.config))
        except OSError as error:
            raise CannotRun(f"module {spec.name}: {error}") from error
        unit = Unit(
            module=spec.cls(spec.config, self.settings),
            supervision=spec.supervision,
            line=self.registry.line(spec.name),
            sockets=listening,
            give_birth=self._give_birth,
            on_change=self._on_change,
        )
        unit.enable()
        self.units[spec.name] = unit
        log.info("module %s registered", spec.name)

    async def run(self) -> int:
        """Start everything, stay until a signal, shut down in order; the exit status."""
        loop = asyncio.get_running_loop()
        self._shutdown = loop.create_future()
        for number in _SHUTDOWN_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal, number)
        async with AdminServer(self.paths.admin_socket, self):
            self.start_modules()
            announcing = asyncio.create_task(self._announce())
            received = await self._shutdown
            announcing.cancel()
            await self.graceful_shutdown(received)
        return 0

    def start_modules(self) -> None:
        """Start every registered module, each one when those it comes after are ready."""
        self._starting = [
            asyncio.create_task(self._start_in_turn(unit)) for unit in self.units.values()
        ]

    async def graceful_shutdown(self, number: int) -> None:
        """Forward the signal to the modules in reverse order of start; each cleans up.

        They share one budget; who is not done when it is used up is killed.
        """
        log.info("%s: stopping %d modules", signal.Signals(number).name, len(self._started))
        self.stopping = True
        for task in self._starting:
            task.cancel()
        forwarded = number if number in STOP_SIGNALS else int(signal.SIGTERM)
        deadline = time.monotonic() + self.configuration.stop_timeout
        for unit in reversed(self._started):
            budget = min(deadline - time.monotonic(), unit.supervision.stop_timeout)
            await unit.stop(forwarded, max(0.0, budget))
        log.info("all modules have stopped")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Begin the shutdown, as the signal would."""
        if self._shutdown and not self._shutdown.done():
            self._shutdown.set_result(number)

    def status(self) -> dict[str, Any]:
        """What `cloudcore status -o json` shows."""
        return render(self)

    def _on_signal(self, number: int) -> None:
        if self._shutdown and not self._shutdown.done():
            log.info("got %s", signal.Signals(number).name)
            self._shutdown.set_result(number)
            return
        log.warning("got %s while stopping: ending at once", signal.Signals(number).name)
        for unit in self.units.values():
            if unit.process:
                unit.process.kill()
        with contextlib.suppress(FileNotFoundError):
            self.paths.admin_socket.unlink()
        os._exit(128 + number)

    async def _start_in_turn(self, unit: Unit) -> None:
        for other in [self.units[name] for name in unit.supervision.after if name in self.units]:
            await other.settled.wait()
            if other.state is not State.READY:
                log.error(
                    "module %s is not started: it comes after %s, which is %s",
                    unit.name,
                    other.name,
                    other.state,
                )
                unit.settled.set()
                return
        self._started.append(unit)
        log.info("starting module %s", unit.name)
        unit.start()

    async def _announce(self) -> None:
        for unit in self.units.values():
            await unit.settled.wait()
        sys.stdout.write(banner.render(self.status(), self.paths) + "\n")
        sys.stdout.flush()

    def _why_disabled(self, spec: ModuleSpec) -> str | None:
        if not spec.enabled:
            return "modules.enabled does not name it"
        return spec.cls.not_needed(self.settings)

    def _give_birth(self, unit: Unit) -> Birth:
        page = Page()
        keep = {
            *self.registry.filenos(),
            page.notice,
            self._lifeline,
            *(sock.fileno() for sock in unit.sockets.values()),
        }
        return Birth(
            module=unit.module,
            registry=self.registry,
            page=page,
            sockets=unit.sockets,
            lifeline=self._lifeline,
            stop_timeout=unit.supervision.stop_timeout,
            keep=frozenset(keep),
            set_up_logs=_logs_for(self.configuration),
        )

    def _on_change(self, unit: Unit, old: State, reason: str) -> None:
        loud = unit.state in {State.CRASHED, State.FAILED}
        note = f" ({reason})" if reason else ""
        log.log(
            logging.ERROR if loud else logging.INFO,
            "module %s: %s -> %s%s",
            unit.name,
            old,
            unit.state,
            note,
        )


def _logs_for(configuration: Configuration) -> Callable[[str], None]:
    return partial(
        logs.setup, verbosity=configuration.log.verbosity, format=configuration.log.format
    )


@contextlib.contextmanager
def _only_one(path: Path) -> Any:
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


def run(configuration: Configuration, paths: Paths) -> int:
    """Run cloudcore in the foreground until a signal; the process's exit status."""
    logs.setup("supervisor", verbosity=configuration.log.verbosity, format=configuration.log.format)
    try:
        paths.create()
        with _only_one(paths.run_dir / "cloudcore.pid"):
            supervisor = Supervisor(configuration, paths)
            for spec in configuration.modules:
                supervisor.register(spec)
            return asyncio.run(supervisor.run())
    except CannotRun as error:
        log.critical("%s", error)
        return EXIT_CANNOT_RUN

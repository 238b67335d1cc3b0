"""Shutdown: which signals begin it, how modules are stopped, and what further signals do."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from ipc.unix_socket import remove_socket
from supervisor.fleet.fleet import Fleet
from supervisor.host.systemd import Systemd
from supervisor.unit.child import STOP_SIGNALS
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

#: beehive shuts down on these too (vendor/github.com/kubeedge/beehive/pkg/core/core.go).
SIGNALS: Final = (*STOP_SIGNALS, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT)

#: Seconds that a cleanup still has when the time of the shutdown is used up.
_LAST_CLEANUP: Final = 2.0


def hold_signals() -> None:
    """Block the signals: those that arrive during start-up stay pending until `listen`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Shutdown:
    """The shutdown of a supervisor, which happens once.

    The first signal is forwarded to the modules, in reverse order of start but for what
    `stop_before` says, and they clean up. Another signal that arrives meanwhile is forwarded too.
    The same signal a second time kills the modules that still run, and cleanups still run; a third
    time, the supervisor exits at once.
    """

    def __init__(self, fleet: Fleet, systemd: Systemd) -> None:
        self._fleet = fleet
        self._systemd = systemd
        self._begun: asyncio.Future[int] | None = None
        self._exit_status = 0
        self._seen: set[int] = set()
        self._insisted = False
        self._disorders: dict[str, str] = {}
        """what went wrong in modules that did not stop in order"""

    @property
    def begun(self) -> bool:
        return self._begun is not None and self._begun.done()

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the signals from now on, pending ones included; ignored ones stay ignored."""
        self._begun = loop.create_future()
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup, a shell's background job
                loop.add_signal_handler(number, self._on_signal, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def begin(self, number: int, exit_status: int = 0) -> None:
        """Begin the shutdown as the signal `number` does; the supervisor exits with this status."""
        if self._begun and not self._begun.done():
            self._exit_status = exit_status
            self._seen.add(number)
            self._begun.set_result(number)
            self._fleet.stopping = True

    async def wait(self) -> int:
        """Wait until a shutdown begins, carry it out, and return the exit status."""
        assert self._begun is not None
        number = await self._begun
        await self._stop_modules(number)
        return self._exit_status

    async def _stop_modules(self, number: int) -> None:
        """Stop one module after the other within a common timeout; kill those that exceed it."""
        fleet = self._fleet
        self._systemd.stopping()
        log.info("%s: stopping %d modules", signal.Signals(number).name, len(self._running()))
        for unit in fleet.units.values():
            fleet.cancel_turn(unit)
        forwarded = number if number in STOP_SIGNALS else int(signal.SIGTERM)
        deadline = time.monotonic() + fleet.configuration.stop_timeout
        while running := self._running():  # a reload may have been under way
            left = deadline - time.monotonic()
            if left > 0 and not self._insisted:
                stopping = _first_to_stop(running)
            else:
                stopping, left = running, 0.0
            await asyncio.gather(*(self._stop(unit, forwarded, left) for unit in stopping))
        for unit in fleet.units.values():
            unit.output.drain()
            if waiting := unit.mailbox.inbox.statistics().messages:
                text = "module %s: messages=%d in its channel were not handled and are dropped"
                log.warning(text, unit.name, waiting)
        if self._disorders:
            told = ", ".join(f"{name} ({what})" for name, what in self._disorders.items())
            log.warning("all modules have stopped, but not in order: %s", told)
        else:
            log.info("all modules have stopped")

    def _running(self) -> list[Unit]:
        """Return the living units, in order of start."""
        units = sorted(self._fleet.units.values(), key=lambda unit: unit.first_started)
        return [unit for unit in units if unit.living]

    async def _stop(self, unit: Unit, number: int, left: float) -> None:
        timeout = min(left, unit.supervision.stop_timeout)
        cleanup = min(max(left, _LAST_CLEANUP), unit.supervision.stop_timeout)
        await unit.stop(number, timeout, cleanup_timeout=cleanup)
        if unit.disorder:
            self._disorders[unit.name] = unit.disorder

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if not self.begun:
            log.info("got %s", name)
            self.begin(number)
        elif number not in self._seen:
            log.info("got %s while stopping", name)
            self._seen.add(number)
            for unit in self._fleet.units.values():
                unit.forward(number)
        elif not self._insisted:
            log.warning("got %s again: killing what still runs", name)
            self._insisted = True
            self._exit_status = 128 + number
            for unit in self._fleet.units.values():
                unit.kill(f"did not stop before {name} came again")
        else:
            self._end_at_once(number)

    def _end_at_once(self, number: int) -> None:
        log.warning("got %s a third time: exiting without cleanups", signal.Signals(number).name)
        for unit in self._fleet.units.values():
            if unit.process:
                unit.process.kill()
        remove_socket(self._fleet.paths.admin_socket)
        os._exit(128 + number)


def _first_to_stop(running: Sequence[Unit]) -> list[Unit]:
    """Return the units of the module that stops next, of living units in order of start.

    That is the last one started of those for which no other has to stop before (`stop_before`). The
    processes of a module stop at the same time: each of cloudhub takes as long as its edges do.
    A reload that the shutdown has cut off may have left a circle: then nobody has to wait.
    """
    held = {name for unit in running for name in unit.supervision.stop_before}
    free = [unit for unit in running if unit.module.name not in held] or running
    return [unit for unit in running if unit.module.name == free[-1].module.name]

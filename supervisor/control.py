"""The verbs that change what runs, one at a time; each waits until its effect is there."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from ipc import DeadLetter
from supervisor import reload as reloading
from supervisor.config import Configuration, ModuleSpec
from supervisor.reload import Changes
from supervisor.restarts import Cause, Restart
from supervisor.states import State
from supervisor.unit import Unit

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor


class UnknownModule(LookupError):
    """No module of that name runs, or none is installed."""


class NotPossible(Exception):
    """The verb makes no sense now; the text says why, and what would."""


class Control:
    """What `cloudcore restart`, `start`, `stop`, `enable`, `disable` and `reload` do."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def start(self, name: str) -> Unit:
        """Start a module that is stopped or has failed, or that waits for its restart."""
        async with self._supervisor.changing:
            unit = self._unit(name)
            if not unit.living and not unit.waits_for:
                self._supervisor.start_in_turn(unit, Cause.REQUEST if unit.first_started else None)
            elif unit.state is State.BACKOFF:
                await unit.restart(Restart(Cause.REQUEST, "start requested"))
            await self._settled(unit)
            return unit

    async def restart(self, name: str) -> Unit:
        """Replace a module's process; its channel and its listening sockets stay open."""
        async with self._supervisor.changing:
            unit = self._unit(name)
            if unit.living:
                await unit.restart(Restart(Cause.REQUEST, "restart requested"))
            else:
                self._supervisor.start_in_turn(unit, Cause.REQUEST if unit.first_started else None)
            await self._settled(unit)
            return unit

    async def stop(self, name: str) -> Unit:
        """Stop a module until it is started again; sending to it is an error meanwhile."""
        async with self._supervisor.changing:
            unit = self._unit(name)
            self._supervisor.cancel_turn(unit)
            await unit.stop(signal.SIGTERM, unit.supervision.stop_timeout, "stop requested")
            return unit

    async def enable(self, name: str) -> Changes:
        """Run a module as if `modules.enabled` named it, until the next reload or restart."""
        return await self._switch(name, on=True)

    async def disable(self, name: str) -> Changes:
        """Run it as if `modules.enabled` did not name it, until the next reload or restart."""
        return await self._switch(name, on=False)

    async def reload(self) -> Changes:
        """Read the configuration again; ConfigError or OSError, and nothing has changed."""
        async with self._supervisor.changing:
            supervisor = self._supervisor
            self._check_not_stopping()
            configuration = supervisor.load()
            supervisor.systemd.reloading()
            try:
                return await reloading.apply(supervisor, configuration)
            finally:
                supervisor.systemd.ready()

    async def replay(self, letter_id: str) -> DeadLetter:
        """Put a dead letter's message back on the channel that it came from.

        Errors: UnknownDeadLetter and those of the channel; then the letter stays.
        """
        async with self._supervisor.changing:
            box = self._supervisor.dead_letters
            letter = box.get(letter_id)
            inbox = self._supervisor.registry.line(letter.channel).inbox
            box.replay(letter_id, inbox, timeout=0)  # the supervisor waits for no channel
            return letter

    async def _switch(self, name: str, *, on: bool) -> Changes:
        async with self._supervisor.changing:
            self._check_not_stopping()
            configuration = self._supervisor.configuration
            spec = next((each for each in configuration.modules if each.name == name), None)
            if spec is None:
                known = ", ".join(each.name for each in configuration.modules)
                raise UnknownModule(f"no module {name!r} is installed (installed: {known})")
            switched = replace(spec, enabled=on)
            if on and (reason := self._supervisor.why_disabled(switched)):
                raise NotPossible(f"module {name} cannot be enabled: {reason}")
            return await reloading.apply(self._supervisor, _with(configuration, switched))

    def _unit(self, name: str) -> Unit:
        self._check_not_stopping()
        units = self._supervisor.units
        if name in self._supervisor.disabled:
            raise NotPossible(f"module {name} is disabled: `cloudcore enable {name}` comes first")
        if name not in units:
            raise UnknownModule(f"no module {name!r} runs here (known: {', '.join(units)})")
        return units[name]

    def _check_not_stopping(self) -> None:
        if self._supervisor.stopping:
            raise NotPossible("cloudcore is stopping")

    async def _settled(self, unit: Unit) -> None:
        await self._supervisor.events.until(lambda: unit.settled or self._supervisor.stopping)


def _with(configuration: Configuration, spec: ModuleSpec) -> Configuration:
    """Put a module's specification in place of the one of the same name."""
    modules = tuple(spec if each.name == spec.name else each for each in configuration.modules)
    return replace(configuration, modules=modules)

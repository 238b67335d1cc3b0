"""The verbs that change what runs: one at a time, each until it has taken effect."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

import msgspec

from ipc import ChannelError, DeadLetter, ModuleUnavailable, NotAMessage
from supervisor.config import Configuration, ModuleSpec
from supervisor.fleet import reload as reloading
from supervisor.fleet.fleet import Fleet, Interrupted
from supervisor.fleet.reload import Changes
from supervisor.host.systemd import Systemd
from supervisor.unit.restart_policy import Cause, Restart
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

_DISABLED: Final = "disabled by `cloudcore disable`, until the next reload or restart"

Loader = Callable[[], Configuration]
"""reads the configuration again, from the same sources"""


class UnknownModule(LookupError):
    """There is no module of that name: none runs, or none is installed."""


class NotPossible(Exception):
    """The verb cannot be carried out now; the text says why, and what to do."""


class Control:
    """The verbs of `cloudcore restart`, `start`, `stop`, `enable`, `disable` and `reload`.

    Each returns when the modules that it started are ready or have crashed once; the restart
    policy decides what follows. A verb delays others only while processes stop, which has a
    timeout.
    """

    def __init__(
        self, fleet: Fleet, load: Loader, systemd: Systemd, gone: Callable[[], bool] = lambda: False
    ) -> None:
        self._fleet = fleet
        self._load = load
        self._systemd = systemd
        self._gone = gone
        """whether the client has closed its connection"""

    async def start(self, name: str) -> Unit:
        """Start a module that is stopped, has failed, or waits for its restart."""
        async with self._turn():
            unit = self._unit(name)
            deaths = unit.transitions[State.CRASHED]
            if unit.state is State.BACKOFF:
                await unit.restart(Restart(Cause.REQUEST, "start requested"))
            elif not unit.living:
                self._start(unit)
        await self._tried([(unit, deaths)])
        return unit

    async def restart(self, name: str) -> Unit:
        """Replace a module's process; its channel and its listening sockets stay open."""
        async with self._turn():
            unit = self._unit(name)
            deaths = unit.transitions[State.CRASHED]
            if unit.living:
                await unit.restart(Restart(Cause.REQUEST, "restart requested"))
            else:
                self._start(unit)
        await self._tried([(unit, deaths)])
        return unit

    async def stop(self, name: str) -> Unit | None:
        """Stop a module until it is started again; meanwhile sending to it is an error.

        Returns None for a disabled module.
        """
        async with self._turn():
            if name in self._fleet.disabled:
                return None
            unit = self._unit(name)
            self._fleet.cancel_turn(unit)
            await unit.stop(signal.SIGTERM, unit.supervision.stop_timeout, "stop requested")
            unit.forget_failure()
            return unit

    async def enable(self, name: str) -> Changes:
        """Run a module as if `modules.enabled` named it, until the next reload or restart."""
        return await self._switch(name, on=True)

    async def disable(self, name: str) -> Changes:
        """Do without a module that `modules.enabled` names, until the next reload or restart."""
        return await self._switch(name, on=False)

    async def reload(self) -> Changes:
        """Read the configuration again and apply it.

        Raises ConfigError or OSError; then nothing has changed.
        """
        async with self._turn():
            self._check_not_stopping()
            configuration = self._load()
            self._systemd.reloading()
            try:
                changes = await self._apply(configuration)
            finally:
                self._systemd.ready()
        return await self._outcome(changes)

    async def replay(self, letter_id: str) -> DeadLetter:
        """Put a dead letter's message back into the channel that it came from.

        Raises UnknownDeadLetter, or NotPossible; then the letter stays.
        """
        async with self._turn():
            box = self._fleet.dead_letters
            letter = box.get(letter_id)
            try:
                inbox = self._fleet.registry.mailbox(letter.channel).inbox
                box.replay(letter_id, inbox, timeout=0)  # the supervisor waits for no channel
            except ChannelError as error:
                text = f"cannot replay dead letter {letter_id}: {error}"
                raise NotPossible(text + self._hint(letter, error)) from error
        log.info("dead letter %s: sent to %s again", letter_id, letter.channel)
        return letter

    def _hint(self, letter: DeadLetter, error: ChannelError) -> str:
        if isinstance(error, NotAMessage):
            return f"; `cloudcore dead-letters drop {letter.id}` deletes it"
        if isinstance(error, ModuleUnavailable):
            verb = "enable" if letter.channel in self._fleet.disabled else "start"
            return f"; `cloudcore {verb} {letter.channel}` first"
        return ""

    async def drop(self, letter_id: str) -> DeadLetter:
        """Delete a dead letter. Raises UnknownDeadLetter."""
        letter = self._fleet.dead_letters.get(letter_id)
        self._fleet.dead_letters.drop(letter_id)
        log.info("dead letter %s for %s: dropped", letter_id, letter.channel)
        return letter

    async def _switch(self, name: str, *, on: bool) -> Changes:
        async with self._turn():
            self._check_not_stopping()
            configuration = self._fleet.configuration
            spec = next((each for each in configuration.modules if each.name == name), None)
            if spec is None:
                known = ", ".join(each.name for each in configuration.modules)
                raise UnknownModule(f"no module {name!r} is installed (installed: {known})")
            switched = replace(spec, enabled=on)
            if spec.enabled and not on:
                switched = replace(switched, why_disabled=_DISABLED)
            if on and (reason := self._fleet.why_disabled(switched)):
                raise NotPossible(f"cannot enable module {name}: {reason}")
            changes = await self._apply(_with(configuration, switched))
        return await self._outcome(changes)

    async def _apply(self, configuration: Configuration) -> Changes:
        try:
            return await reloading.apply(self._fleet, configuration)
        except Interrupted as error:
            raise NotPossible(str(error)) from error

    async def _outcome(self, changes: Changes) -> Changes:
        """Wait until each module that was started is ready or has crashed; add those not ready."""
        names = {*changes.started, *changes.restarted}
        units = [unit for unit in self._fleet.units.values() if unit.module.name in names]
        await self._tried([(unit, unit.transitions[State.CRASHED]) for unit in units])
        not_ready = [
            unit.name
            for unit in units
            if unit.state not in {State.READY, State.STOPPED} or unit.waits_for
        ]
        return msgspec.structs.replace(changes, not_ready=not_ready)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other verb is at work; raise NotPossible if the client left meanwhile."""
        waited = self._fleet.changing.locked()
        async with self._fleet.changing:
            if waited and self._gone():
                log.info("a request was not carried out: its client left before its turn came")
                raise NotPossible("the client closed the connection")
            yield

    def _unit(self, name: str) -> Unit:
        self._check_not_stopping()
        units = self._fleet.units
        if name in self._fleet.disabled:
            raise NotPossible(f"module {name} is disabled; run `cloudcore enable {name}` first")
        if name not in units:
            raise UnknownModule(f"no module {name!r} is running (running: {', '.join(units)})")
        return units[name]

    def _check_not_stopping(self) -> None:
        if self._fleet.stopping:
            raise NotPossible("cloudcore is stopping")

    def _start(self, unit: Unit) -> None:
        self._fleet.start_in_turn(unit, Cause.REQUEST if unit.first_started else None)

    async def _tried(self, begun: list[tuple[Unit, int]]) -> None:
        """Wait until each is settled, has crashed again, or waits for a unit that has crashed."""

        def look() -> bool:
            return self._fleet.stopping or all(
                unit.tried
                if unit.waits_for
                else unit.settled or unit.transitions[State.CRASHED] > deaths
                for unit, deaths in begun
            )

        await self._fleet.state_changes.until(look)


def _with(configuration: Configuration, spec: ModuleSpec) -> Configuration:
    """Return the configuration with this specification in place of the one of the same name."""
    modules = tuple(spec if each.name == spec.name else each for each in configuration.modules)
    return replace(configuration, modules=modules)

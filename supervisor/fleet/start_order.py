"""The order of starts: a unit starts when the modules that its `after` names are ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from supervisor.telemetry.state_changes import StateChangeLog
from supervisor.unit.bugs import no_silent_end
from supervisor.unit.restart_policy import Cause
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)


class StartOrder:
    """The starts that wait until other units are ready."""

    def __init__(
        self,
        units: Mapping[str, Unit],
        state_changes: StateChangeLog,
        moved: Callable[[], None],
        give_up: Callable[[], None],
    ) -> None:
        """`moved` is called when a unit waits for another one than before, which is no change of
        state but may settle it; `give_up` if a bug ends a start that waits: the unit would never
        start.
        """
        self._moved = moved
        self._give_up = give_up
        self._units = units
        self._state_changes = state_changes
        self._pending: dict[str, asyncio.Task[None]] = {}

    def start(self, unit: Unit, cause: Cause | None = None) -> None:
        """Start a unit now, or as soon as the units that it starts after are ready."""
        self.cancel(unit)
        unit.waits_for = self._not_ready_before(unit)
        if unit.waits_for:
            log.info("module %s %s", unit.name, unit.reason)
            starting = asyncio.create_task(
                self._start_later(unit, cause), name=f"start {unit.name}"
            )
            starting.add_done_callback(no_silent_end(self._give_up))
            self._pending[unit.name] = starting
        else:
            _start(unit, cause)

    def cancel(self, unit: Unit) -> None:
        """Cancel the pending start of a unit; nothing happens if there is none."""
        if task := self._pending.pop(unit.name, None):
            task.cancel()
        unit.waits_for = None

    def before(self, unit: Unit) -> list[Unit]:
        """Return the units that have to be ready before this one starts."""
        names = unit.supervision.after
        return [other for other in self._units.values() if other.module.name in names]

    def _not_ready_before(self, unit: Unit) -> Unit | None:
        before = self.before(unit)
        return next((other for other in before if other.state is not State.READY), None)

    async def _start_later(self, unit: Unit, cause: Cause | None) -> None:
        while other := self._not_ready_before(unit):
            if unit.waits_for is not other:
                unit.waits_for = other
                self._moved()
            await self._state_changes.until(partial(self._moves_on, unit, other))
        _start(unit, cause)

    def _moves_on(self, unit: Unit, waits_for: Unit) -> bool:
        return self._not_ready_before(unit) is not waits_for


def _start(unit: Unit, cause: Cause | None) -> None:
    log.info("starting module %s", unit.name)
    unit.start(cause)

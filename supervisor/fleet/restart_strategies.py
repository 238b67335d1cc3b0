"""The restart strategies: which units are restarted together with one that crashed.

The words are those of OTP (lib/stdlib/src/supervisor.erl).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from supervisor.telemetry.state_changes import StateChangeLog
from supervisor.unit.bugs import no_silent_end
from supervisor.unit.restart_policy import Cause, Restart
from supervisor.unit.states import State
from supervisor.unit.unit import Unit


class RestartStrategies:
    """Restarts the other units that a crash concerns, in reverse order of their start."""

    def __init__(
        self, units: Mapping[str, Unit], state_changes: StateChangeLog, give_up: Callable[[], None]
    ) -> None:
        """`give_up` is called if a bug ends a restart."""
        self._give_up = give_up
        self._units = units
        self._state_changes = state_changes
        self._restarts: set[asyncio.Task[None]] = set()

    def apply(self, died: Unit) -> None:
        """Apply the strategy of a unit that crashed; the others start when it is settled."""
        strategy = died.supervision.strategy
        order = sorted(self._units.values(), key=lambda unit: unit.first_started)
        later = order[order.index(died) :]
        concerned = {"one_for_one": [], "one_for_all": order, "rest_for_one": later}[strategy]

        async def settled() -> None:
            await self._state_changes.until(lambda: died.settled)

        why = f"{died.name} crashed: {strategy}"
        restart = Restart(Cause.STRATEGY, why, gate=settled)
        for other in reversed(concerned):
            if other is not died and _runs(other):
                again = _restart(other, restart)
                task = asyncio.create_task(again, name=f"restart {other.name}")
                task.add_done_callback(no_silent_end(self._give_up))
                self._restarts.add(task)
                task.add_done_callback(self._restarts.discard)


async def _restart(unit: Unit, restart: Restart) -> None:
    if _runs(unit):  # it may have been asked to stop, or have crashed, since this task was made
        await unit.restart(restart)


def _runs(unit: Unit) -> bool:
    return unit.state in {State.STARTING, State.READY}

"""Changing what runs: from the configuration in force to another one, without a restart.

`cloudcore reload`, `enable` and `disable` differ only in where the other one comes from.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ipc import ChannelState
from supervisor.api import Settings
from supervisor.config import Configuration, ModuleSpec
from supervisor.host import sockets
from supervisor.unit.restarts import (
    Cause,
    Restart,
)
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

if TYPE_CHECKING:
    from supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)

Loader = Callable[[], Configuration]


class Interrupted(Exception):
    """A shutdown came in between: what was not changed by then is not."""


class Changes(msgspec.Struct, frozen=True):
    """What a change of configuration did, in names of modules."""

    started: list[str]
    restarted: list[str]
    stopped: list[str]
    unchanged: list[str]
    not_ready: list[str]
    """of those that started or restarted"""
    needs_restart: list[str]
    """what has changed and is in force only when cloudcore is started again"""


@dataclass(frozen=True)
class _Plan:
    """What is to happen, found out and opened before anything is touched."""

    started: list[ModuleSpec]
    restarted: list[ModuleSpec]
    stopped: list[ModuleSpec]
    unchanged: list[str]
    unknown: list[str]
    """installed since cloudcore was started: the modules that run know no channel of theirs"""
    sockets: dict[str, sockets.Sockets]


async def apply(supervisor: Supervisor, configuration: Configuration) -> Changes:
    """Make the configuration the one in force.

    Newly enabled modules start, dropped ones stop and are cleaned up, changed ones restart,
    the others keep their process. Raises OSError, before anything has changed, if an address
    cannot be listened on.
    """
    plan = _plan(supervisor, configuration)
    needs_restart = configuration.fixed_keys_changed(supervisor.configuration)
    supervisor.configuration = configuration
    supervisor.set_up_logs()
    supervisor.crashes.keep = configuration.supervisor.crash_reports
    for spec in reversed(plan.stopped):
        await _stop(supervisor, spec)
    for spec in plan.restarted:
        await _restart(supervisor, spec, plan.sockets[spec.name])
    _check_not_stopping(supervisor)
    for spec in plan.started:
        for unit in supervisor.add_units(spec, plan.sockets[spec.name]):
            supervisor.start_in_turn(unit)
    _put_in_order(supervisor)
    return Changes(
        started=[spec.name for spec in plan.started],
        restarted=[spec.name for spec in plan.restarted],
        stopped=[spec.name for spec in plan.stopped],
        unchanged=plan.unchanged,
        not_ready=[],
        needs_restart=[*needs_restart, *plan.unknown],
    )


def _plan(supervisor: Supervisor, new: Configuration) -> _Plan:
    old = supervisor.configuration
    settings = Settings(supervisor.paths.data_dir, supervisor.paths.run_dir, new.kubernetes)
    shared_changed = (old.kubernetes, old.log) != (new.kubernetes, new.log)
    before = {spec.name: spec for spec in old.modules}
    plan = _Plan([], [], [], [], [], {})
    known = {spec.name for spec in new.modules}
    plan.stopped.extend(spec for spec in old.modules if spec.name not in known)
    for spec in new.modules:
        if spec.name not in before:
            plan.unknown.append(f"modules.{spec.name}")
            continue
        runs = bool(_units(supervisor, spec.name))
        reason = supervisor.why_disabled(spec, settings)
        if reason:
            supervisor.disable(spec, reason) if not runs else plan.stopped.append(spec)
        elif not runs:
            plan.started.append(spec)
        elif shared_changed or spec != before[spec.name]:
            plan.restarted.append(spec)
        else:
            plan.unchanged.append(spec.name)
    _open_sockets(supervisor, plan, before)
    return plan


def _open_sockets(supervisor: Supervisor, plan: _Plan, before: dict[str, ModuleSpec]) -> None:
    """Open what is new; a listener that stays the same keeps its socket and its backlog."""
    opened: list[sockets.Sockets] = []
    try:
        for spec in (*plan.restarted, *plan.started):
            sockets.check_unix_paths(spec, supervisor.paths.run_dir)
            units = _units(supervisor, spec.name)
            held = units[0].sockets if units else {}
            old = before[spec.name].cls.listeners(before[spec.name].config)
            wanted = spec.cls.listeners(spec.config)
            kept = {
                name: held[name] for name in wanted if name in held and old[name] == wanted[name]
            }
            missing = {name: at for name, at in wanted.items() if name not in kept}
            opened.append(sockets.open_all(missing))
            plan.sockets[spec.name] = {**kept, **opened[-1]}
    except OSError:
        for each in opened:
            sockets.close_all(each)
        raise


async def _stop(supervisor: Supervisor, spec: ModuleSpec) -> None:
    for unit in reversed(_units(supervisor, spec.name)):
        await remove(supervisor, unit)
        _check_not_stopping(supervisor)
    reason = supervisor.why_disabled(spec, supervisor.settings) or "it is not installed any more"
    supervisor.disable(spec, reason)


def _check_not_stopping(supervisor: Supervisor) -> None:
    if supervisor.stopping:
        raise Interrupted("cloudcore is stopping")


async def remove(supervisor: Supervisor, unit: Unit) -> None:
    """Stop a unit for good, and let go of what the supervisor holds for it."""
    supervisor.cancel_turn(unit)
    await unit.stop(signal.SIGTERM, unit.supervision.stop_timeout, "disabled")
    _check_not_stopping(supervisor)
    del supervisor.units[unit.name]
    unit.disable()
    unit.output.drain()
    unit.output.close()
    if not _units(supervisor, unit.module.name):
        sockets.close_all(unit.sockets)


async def _restart(supervisor: Supervisor, spec: ModuleSpec, new: sockets.Sockets) -> None:
    """Replace a module's processes by such of its new configuration."""
    units = _units(supervisor, spec.name)
    number = spec.cls.processes(spec.config)
    held = units[0].sockets
    for surplus in reversed(units[number:]):
        await remove(supervisor, surplus)
        supervisor.registry.set_state(surplus.name, ChannelState.DISABLED)
    for unit in units[:number]:
        prepare = partial(_adopt, supervisor, unit, spec, new)
        gate = partial(supervisor.events.until, partial(_all_tried, supervisor, unit))
        if unit.living:
            await unit.restart(Restart(Cause.RELOAD, "configuration changed", prepare, gate))
            continue
        begins = unit.waits_for is not None or unit.state is State.FAILED
        prepare()
        if begins:  # one that was stopped stays so
            supervisor.start_in_turn(unit, Cause.RELOAD if unit.first_started else None)
    for unit in supervisor.add_units(spec, new, first=len(units) + 1):
        supervisor.start_in_turn(unit)
    _check_not_stopping(supervisor)
    sockets.close_all({name: sock for name, sock in held.items() if sock is not new.get(name)})


def _adopt(supervisor: Supervisor, unit: Unit, spec: ModuleSpec, new: sockets.Sockets) -> None:
    unit.module = spec.cls(spec.config, supervisor.settings)
    unit.supervision = spec.supervision
    unit.sockets = new


def _all_tried(supervisor: Supervisor, unit: Unit) -> bool:
    """Whether those that a unit starts after are up, or have died: one that keeps crashing
    does not keep down what ran beside it before the reload.
    """
    return all(other.tried for other in supervisor.before(unit))


def _units(supervisor: Supervisor, module: str) -> list[Unit]:
    return [unit for unit in supervisor.units.values() if unit.module.name == module]


def _put_in_order(supervisor: Supervisor) -> None:
    order = [spec.name for spec in supervisor.configuration.modules]
    units = sorted(supervisor.units.values(), key=lambda unit: order.index(unit.module.name))
    supervisor.units = {unit.name: unit for unit in units}

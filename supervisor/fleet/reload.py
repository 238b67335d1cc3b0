"""Reload: apply another configuration to the fleet, without a restart of cloudcore.

`cloudcore reload`, `enable` and `disable` differ only in the source of the new configuration.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import msgspec

from ipc import ChannelState
from supervisor.api import Module, Settings
from supervisor.config import Configuration, ModuleSpec
from supervisor.fleet.fleet import Fleet
from supervisor.fleet.making import make
from supervisor.host import sockets
from supervisor.unit.restart_policy import Cause, Restart
from supervisor.unit.states import State
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)


class Changes(msgspec.Struct, frozen=True):
    """What a change of configuration did, as names of modules."""

    started: list[str]
    restarted: list[str]
    stopped: list[str]
    unchanged: list[str]
    not_ready: list[str]
    """of those that were started or restarted"""
    needs_restart: list[str]
    """keys that have changed and take effect only when cloudcore is restarted"""


@dataclass(frozen=True)
class _Plan:
    """What a reload will do, made before anything is changed; new sockets are already open."""

    started: list[ModuleSpec]
    restarted: list[ModuleSpec]
    stopped: list[ModuleSpec]
    disabled: list[tuple[ModuleSpec, str]]
    """those that do not run, and why they will not either"""
    unchanged: list[str]
    unknown: list[str]
    """modules installed since cloudcore was started: running modules have no channel to them"""
    modules: dict[str, Module]
    sockets: dict[str, sockets.Sockets]
    """of those that are started or restarted, as are `modules`"""


async def apply(fleet: Fleet, configuration: Configuration) -> Changes:
    """Put the configuration in force.

    Newly enabled modules start, modules no longer enabled stop and clean up, changed ones restart,
    and the others keep their process. Raises OSError or ConfigError, before anything has changed,
    if a socket cannot be opened or a module not be made of its configuration.
    """
    plan = _plan(fleet, configuration)
    needs_restart = configuration.fixed_keys_changed(fleet.configuration)
    fleet.adopt(configuration)
    for spec, reason in plan.disabled:
        fleet.disable(spec, reason)
    for spec in reversed(plan.stopped):
        await _stop(fleet, spec)
    changed = [unit for spec in plan.restarted for unit in fleet.units_of(spec.name)]
    pending = [unit for unit in changed if unit.waits_for]
    for unit in pending:  # while some have their new `after`, those that wait could be a circle
        fleet.cancel_turn(unit)
    for spec in plan.restarted:
        await _restart(fleet, spec, plan.modules[spec.name], plan.sockets[spec.name], pending)
    fleet.check_not_stopping()
    for spec in plan.started:
        for unit in fleet.add(spec, plan.modules[spec.name], plan.sockets[spec.name]):
            fleet.start_in_turn(unit)
    fleet.sort()
    return Changes(
        started=[spec.name for spec in plan.started],
        restarted=[spec.name for spec in plan.restarted],
        stopped=[spec.name for spec in plan.stopped],
        unchanged=plan.unchanged,
        not_ready=[],
        needs_restart=[*needs_restart, *plan.unknown],
    )


def _shared(configuration: Configuration) -> tuple[object, ...]:
    """Return the tables that concern all modules."""
    return configuration.kubernetes, configuration.replicas, configuration.log


def _plan(fleet: Fleet, new: Configuration) -> _Plan:
    old = fleet.configuration
    settings = fleet.settings_of(new)
    shared_changed = _shared(old) != _shared(new)
    before = {spec.name: spec for spec in old.modules}
    plan = _Plan([], [], [], [], [], [], {}, {})
    known = {spec.name for spec in new.modules}
    plan.stopped.extend(spec for spec in old.modules if spec.name not in known)
    for spec in new.modules:
        if spec.name not in before:
            plan.unknown.append(f"modules.{spec.name}")
            continue
        runs = bool(fleet.units_of(spec.name))
        reason = fleet.why_disabled(spec, settings)
        if reason:
            plan.stopped.append(spec) if runs else plan.disabled.append((spec, reason))
        elif not runs:
            plan.started.append(spec)
        elif shared_changed or spec != before[spec.name]:
            plan.restarted.append(spec)
        else:
            plan.unchanged.append(spec.name)
    for spec in (*plan.restarted, *plan.started):
        plan.modules[spec.name] = make(spec, new, settings)
    _open_sockets(fleet, plan, before, settings)
    return plan


def _open_sockets(
    fleet: Fleet, plan: _Plan, before: dict[str, ModuleSpec], settings: Settings
) -> None:
    """Open new listeners; an unchanged listener keeps its socket and its backlog."""
    opened: list[sockets.Sockets] = []
    try:
        for spec in (*plan.restarted, *plan.started):
            sockets.check_unix_paths(
                spec.name, spec.cls.unix_sockets(spec.config), fleet.paths.run_dir
            )
            units = fleet.units_of(spec.name)
            held = units[0].sockets if units else {}
            old = before[spec.name].cls.listeners(before[spec.name].config, fleet.settings)
            wanted = spec.cls.listeners(spec.config, settings)
            kept = {
                name: held[name] for name in wanted if name in held and old[name] == wanted[name]
            }
            missing = {name: at for name, at in wanted.items() if name not in kept}
            opened.append(sockets.open_all(missing))
            plan.sockets[spec.name] = {**kept, **opened[-1]}
    except BaseException:  # that of a module's `listeners` as well
        for each in opened:
            sockets.close_all(each)
        raise


async def _stop(fleet: Fleet, spec: ModuleSpec) -> None:
    for unit in reversed(fleet.units_of(spec.name)):
        await fleet.remove(unit)
        fleet.check_not_stopping()
    reason = fleet.why_disabled(spec, fleet.settings) or "it is no longer installed"
    fleet.disable(spec, reason)


async def _restart(
    fleet: Fleet, spec: ModuleSpec, module: Module, new: sockets.Sockets, pending: Collection[Unit]
) -> None:
    """Restart a module's processes with its new configuration; begin those that are `pending`."""
    units = fleet.units_of(spec.name)
    number = spec.cls.processes(spec.config)
    held = units[0].sockets
    for surplus in reversed(units[number:]):
        await fleet.remove(surplus)
        fleet.registry.set_state(surplus.name, ChannelState.DISABLED)
    for unit in units[:number]:
        prepare = partial(_adopt, unit, module, spec, new)
        gate = partial(fleet.state_changes.until, partial(_all_tried, fleet, unit))
        if unit.living:
            await unit.restart(Restart(Cause.RELOAD, "configuration changed", prepare, gate))
            continue
        begins = unit in pending or unit.state is State.FAILED
        prepare()
        if begins:  # a stopped unit stays stopped
            fleet.start_in_turn(unit, Cause.RELOAD if unit.first_started else None)
    for unit in fleet.add(spec, module, new, first=len(units) + 1):
        fleet.start_in_turn(unit)
    fleet.check_not_stopping()
    sockets.close_all({name: sock for name, sock in held.items() if sock is not new.get(name)})


def _adopt(unit: Unit, module: Module, spec: ModuleSpec, new: sockets.Sockets) -> None:
    unit.module = module
    unit.supervision = spec.supervision
    unit.sockets = new


def _all_tried(fleet: Fleet, unit: Unit) -> bool:
    """Whether the units that this one starts after are ready or have crashed.

    One that keeps crashing must not keep down a unit that ran beside it before the reload. Neither
    must one that is held until another is settled: that may be this unit.
    """
    return all(other.tried or other.held for other in fleet.before(unit))

"""The status document: what `GET /status` and `cloudcore status -o json` show."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ipc import Channel
from supervisor import version
from supervisor.config import ModuleSpec
from supervisor.fleet.fleet import Fleet
from supervisor.live_tables import LiveTable
from supervisor.unit.process import Usage
from supervisor.unit.states import State
from supervisor.unit.unit import Unit


class ExitStatus(msgspec.Struct, frozen=True):
    """How the last process of a module ended that was not asked to."""

    at: str
    code: int | None
    signal: str | None
    reason: str
    traceback: str
    oom_killed: bool
    report: str
    """id of its crash report"""


class InboxStatus(msgspec.Struct, frozen=True):
    """A module's channel; the totals are since the start of cloudcore."""

    messages: int
    bytes: int
    capacity_bytes: int
    sent_total: int
    received_total: int
    redelivered_total: int
    unanswered_total: int
    """calls of send_sync to the module that got no answer in time"""
    set_aside_total: int
    """messages that became dead letters"""
    dead_letters: int
    """those that were neither replayed nor dropped, of earlier runs too"""


class ModuleStatus(msgspec.Struct, frozen=True):
    """One module, or one of its processes; null is unknown, or does not exist at present."""

    name: str
    group: str
    enabled: bool
    state: str
    reason: str
    """why it is in this state; empty if the state says it all"""
    since: str | None
    pid: int | None
    started_at: str | None
    uptime_seconds: float | None
    restarts: int
    restarts_by_cause: dict[str, int]
    last_exit: ExitStatus | None
    cpu_percent: float | None
    cpu_seconds: float | None
    rss_bytes: int | None
    threads: int | None
    fds: int | None
    inbox: InboxStatus
    details: dict[str, Any]


class Status(msgspec.Struct, frozen=True):
    """The status document: times in RFC 3339 (UTC), sizes in bytes."""

    version: str
    pid: int
    started_at: str
    data_dir: str
    """empty for clients that may not read logs"""
    config: str | None
    """the file of `--config`; none, too, for clients that may not read logs"""
    sets: list[str]
    """the KEY=VALUE of each `--set`; none for clients that may not read logs"""
    uptime_seconds: float
    """on the monotonic clock, as for each module: setting the machine's clock does not change it"""
    state: str
    """starting (some module was not tried yet), running (all are ready), degraded or stopping"""
    modules: list[ModuleStatus]
    tables: list[LiveTable]
    """what modules serve on Unix sockets in the run directory"""


def render(fleet: Fleet) -> Status:
    """Return the status document of this moment."""
    units = fleet.units.values()
    letters = fleet.dead_letters.counts()
    sources = fleet.configuration.sources
    return Status(
        version=version.current(),
        pid=os.getpid(),
        started_at=timestamp(fleet.started_at),
        data_dir=str(fleet.paths.data_dir),
        config=str(sources.path) if sources.path else None,
        sets=list(sources.sets),
        uptime_seconds=round(time.monotonic() - fleet.began, 3),
        state=overall_state(fleet),
        modules=[
            *(_module(unit, letters) for unit in units),
            *(
                _disabled(spec, reason, _inbox(fleet.registry.mailbox(spec.name).inbox, letters))
                for spec, reason in fleet.disabled.values()
            ),
        ],
        tables=[
            table
            for spec in fleet.configuration.modules
            if fleet.units_of(spec.name)
            for table in spec.cls.tables(spec.config)
        ],
    )


def overall_state(fleet: Fleet) -> str:
    """Return the state of cloudcore as a whole, as in `Status`."""
    if fleet.stopping:
        return "stopping"
    if not fleet.started:
        return "starting"
    all_ready = all(unit.state is State.READY for unit in fleet.units.values())
    return "running" if all_ready else "degraded"


def without_traces(status: Status) -> Status:
    """Return the document without what only clients that may read logs see."""
    replace = msgspec.structs.replace
    modules = [
        replace(module, last_exit=replace(module.last_exit, traceback=""))
        if module.last_exit
        else module
        for module in status.modules
    ]
    return replace(status, data_dir="", config=None, sets=[], modules=modules)


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339, in UTC with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _module(unit: Unit, letters: Mapping[str, int]) -> ModuleStatus:
    process = unit.process
    usage = process.usage() if process else Usage()
    return ModuleStatus(
        name=unit.name,
        group=unit.module.group,
        enabled=True,
        state=unit.state,
        reason=unit.reason,
        since=timestamp(unit.since),
        pid=process.pid if process else None,
        started_at=timestamp(process.started_at) if process else None,
        uptime_seconds=round(time.monotonic() - process.started, 3) if process else None,
        restarts=unit.restarts.total(),
        restarts_by_cause=dict(unit.restarts),
        last_exit=_exit(unit),
        inbox=_inbox(unit.mailbox.inbox, letters),
        details=unit.details(),
        **msgspec.structs.asdict(usage),
    )


def _disabled(spec: ModuleSpec, reason: str, inbox: InboxStatus) -> ModuleStatus:
    return ModuleStatus(
        name=spec.name,
        group=spec.cls.group,
        enabled=False,
        state=State.DISABLED,
        reason=reason,
        since=None,
        pid=None,
        started_at=None,
        uptime_seconds=None,
        restarts=0,
        restarts_by_cause={},
        last_exit=None,
        inbox=inbox,
        details={},
        **msgspec.structs.asdict(Usage()),
    )


def _exit(unit: Unit) -> ExitStatus | None:
    last = unit.last_exit
    if last is None:
        return None
    return ExitStatus(
        at=timestamp(last.at),
        code=last.code,
        signal=last.signal,
        reason=last.reason,
        traceback=last.traceback,
        oom_killed=last.oom_killed,
        report=last.id,
    )


def _inbox(inbox: Channel, letters: Mapping[str, int]) -> InboxStatus:
    statistics = inbox.statistics()
    return InboxStatus(
        messages=statistics.messages,
        bytes=statistics.bytes,
        capacity_bytes=statistics.capacity_bytes,
        sent_total=statistics.sent_total,
        received_total=statistics.received_total,
        redelivered_total=statistics.redelivered_total,
        unanswered_total=statistics.unanswered_total,
        set_aside_total=statistics.dead_letters,
        dead_letters=letters.get(inbox.name, 0),
    )

"""The status document: what `GET /status` and `cloudcore status -o json` show."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from supervisor import version
from supervisor.states import State
from supervisor.unit import Exit, Unit

if TYPE_CHECKING:
    from ipc import Registry
    from supervisor.config import ModuleSpec
    from supervisor.supervisor import Supervisor

_NO_USAGE = {"cpu_percent": None, "rss_bytes": None, "threads": None, "fds": None}


def render(supervisor: Supervisor) -> dict[str, Any]:
    """Describe the whole: JSON-like, times in RFC 3339, sizes in bytes."""
    units = supervisor.units.values()
    all_ready = all(unit.state is State.READY for unit in units)
    state = "stopping" if supervisor.stopping else "running" if all_ready else "degraded"
    return {
        "version": version.current(),
        "pid": os.getpid(),
        "started_at": timestamp(supervisor.started_at),
        "state": state,
        "modules": [
            *(_module(unit, supervisor.registry) for unit in units),
            *(_disabled(spec, supervisor.registry) for spec in supervisor.disabled.values()),
        ],
    }


def timestamp(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339, UTC, in milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _module(unit: Unit, registry: Registry) -> dict[str, Any]:
    process = unit.process
    return {
        "name": unit.name,
        "group": unit.module.group,
        "enabled": True,
        "state": unit.state.value,
        "pid": process.pid if process else None,
        "started_at": timestamp(process.started_at) if process else None,
        "uptime_seconds": round(time.monotonic() - process.started, 3) if process else None,
        "restarts": unit.restarts,
        "last_exit": _exit(unit.last_exit),
        **(_NO_USAGE | (process.usage() if process else {})),
        "inbox": _inbox(unit.name, registry),
        "details": unit.details(),
    }


def _disabled(spec: ModuleSpec, registry: Registry) -> dict[str, Any]:
    return {
        "name": spec.name,
        "group": spec.cls.group,
        "enabled": False,
        "state": State.DISABLED.value,
        "pid": None,
        "started_at": None,
        "uptime_seconds": None,
        "restarts": 0,
        "last_exit": None,
        **_NO_USAGE,
        "inbox": _inbox(spec.name, registry),
        "details": {},
    }


def _exit(last: Exit | None) -> dict[str, Any] | None:
    return asdict(last) | {"at": timestamp(last.at)} if last else None


def _inbox(name: str, registry: Registry) -> dict[str, int]:
    statistics = registry.line(name).inbox.statistics()
    return {
        "messages": statistics.messages,
        "bytes": statistics.bytes,
        "capacity_bytes": statistics.capacity_bytes,
        "received_total": statistics.received_total,
        "redelivered_total": statistics.redelivered_total,
        "dead_letters": statistics.dead_letters,
    }

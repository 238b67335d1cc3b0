"""The crash report of a process that has just exited, made from all that is known of it."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import asdict
from typing import Any, Final

from supervisor.api import DiskFull
from supervisor.telemetry.crash_reports import ID_TIME, CrashReport, how_ended, signal_name
from supervisor.telemetry.output import last_lines
from supervisor.unit.exit_reason import EXIT_TEMPORARY, full_directory
from supervisor.unit.process import ModuleProcess
from supervisor.unit.unit import Unit

log = logging.getLogger(__name__)

STDERR_LINES: Final = 200


def describe(
    unit: Unit, process: ModuleProcess, code: int, reason: str, *, oom_killed: bool, since: int
) -> CrashReport:
    """Return the crash report of a process that has just exited.

    `code` is the exit code as in multiprocessing: negative for a signal. `reason` is why the
    supervisor ended the process, empty if it exited on its own. `since` is the mark in the module's
    output after which this process wrote.
    """
    settings = unit.module.settings
    words = process.shared_state.last_words()
    number = signal_name(-code) if code < 0 else None
    # A write to a mapped file (metrics are such) for which the disk has no room is a SIGBUS.
    full = full_directory(settings) if code == -signal.SIGBUS else None
    temporary = not reason and (code == EXIT_TEMPORARY or full is not None)
    if not reason:
        reason = (words.reason if words else "") or how_ended(code)
        reason += " (the kernel was out of memory)" if oom_killed else ""
        reason += f": {DiskFull(full)}" if full else ""
    return CrashReport(
        id=_new_id(unit.name, process.pid),
        module=unit.name,
        at=time.time(),
        pid=process.pid,
        uptime_seconds=round(time.monotonic() - process.started, 3),
        state=unit.state,
        reason=reason,
        code=None if code < 0 else code,
        signal=number,
        oom_killed=oom_killed,
        traceback=words.traceback if words else "",
        in_hand=_in_hand(unit),
        stderr=last_lines(STDERR_LINES, unit.output.recent, since=since),
        temporary=temporary,
    )


def _in_hand(unit: Unit) -> list[dict[str, Any]]:
    try:
        return [asdict(message) for message in unit.mailbox.inbox.in_flight()]
    except Exception:  # memory that a module could write to: anything may be in it
        log.exception("module %s: cannot read its messages in flight", unit.name)
        return []


def _new_id(module: str, pid: int) -> str:
    """Return a new id; ids sort by time."""
    moment = time.strftime(ID_TIME, time.gmtime())
    return f"{moment}-{time.time_ns() // 1_000_000 % 1000:03d}-{module}-{pid}"

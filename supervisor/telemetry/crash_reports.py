"""Crash reports: what is known of a module's crash, in files that outlive cloudcore."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from ipc.files import replace_file
from supervisor.telemetry.escaping import to_json

log = logging.getLogger(__name__)

#: The time at the beginning of an id.
ID_TIME: Final = "%Y%m%dT%H%M%S"
_TIME: Final = re.compile(r"\d{8}T\d{6}-")


class CrashReport(msgspec.Struct, frozen=True):
    """One exit that was not requested; `at` is in seconds since the epoch."""

    id: str
    module: str
    at: float
    pid: int
    uptime_seconds: float
    state: str
    """of the module at that time: starting, ready or stopping"""
    reason: str
    code: int | None
    """exit status; None if a signal ended the process"""
    signal: str | None
    oom_killed: bool
    """whether the kernel killed it because memory ran out"""
    traceback: str
    in_hand: list[dict[str, Any]]
    """the messages in flight, without their content"""
    stderr: list[str]
    """the last lines that the process wrote, faulthandler's stacks included"""
    temporary: bool = False
    """whether the cause is a temporary failure, such as a full disk"""


def how_ended(code: int) -> str:
    """Return how a process ended; `code` is its exit code as in multiprocessing."""
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit status {code}"


def signal_name(number: int) -> str:
    """Return a signal's name; for real-time signals as kill(1) writes it: SIGRTMIN+3."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    offset = number - signal.SIGRTMIN
    return f"SIGRTMIN+{offset}" if offset > 0 else f"signal {number}"  # the C library's own


class UnknownReport(LookupError):
    """There is no crash report with that id."""


class CrashReports:
    """The directory of crash reports, limited to the newest `keep`.

    A report that cannot be written, on a full disk, is kept in memory until it can.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self.keep = keep
        self._unwritten: dict[str, tuple[CrashReport, bytes]] = {}

    def put(self, report: CrashReport) -> None:
        """Write a report atomically, and delete the oldest reports above the limit."""
        content = msgspec.json.format(to_json(report), indent=1)
        begins = not self._unwritten
        self._unwritten[report.id] = report, content
        for old in list(self._unwritten)[: -self.keep]:
            del self._unwritten[old]
        error = self.write_rest()
        if error and begins:
            log.error("cannot write crash reports: %s; they are kept in memory until then", error)

    def write_rest(self) -> OSError | None:
        """Write the reports that could not be written before; return the error if that fails."""
        if not self._unwritten:
            return None
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for report, content in list(self._unwritten.values()):
                replace_file(self.directory / f"{report.id}.json", content, sync=False)
                del self._unwritten[report.id]
            for old in self._files()[: -self.keep]:
                old.unlink(missing_ok=True)
        except OSError as error:
            return error
        return None

    def reports(self, module: str = "") -> list[CrashReport]:
        """Return the reports of one module or of all, oldest first."""
        unwritten = [report for report, _ in self._unwritten.values()]
        found = [*map(_read, self._files()), *unwritten]
        return [report for report in found if report and module in {"", report.module}]

    def get(self, report_id: str) -> CrashReport:
        """Return one report; raises UnknownReport."""
        if report_id in self._unwritten:
            return self._unwritten[report_id][0]
        for file in self._files():
            if file.stem == report_id and (report := _read(file)):
                return report
        raise UnknownReport(f"no crash report {report_id!r}; it may have been deleted as too old")

    def _files(self) -> list[Path]:
        """Return the files, oldest first.

        Their names begin with the time. One of the future was made before the clock was set back:
        otherwise it would outlast all that are made now, and be the last one of all.
        """
        now = time.strftime(ID_TIME, time.gmtime(time.time() + 1))

        def age(file: Path) -> tuple[bool, str]:
            is_future = bool(_TIME.match(file.name)) and file.name > now
            return not is_future, file.name

        return sorted(self.directory.glob("*.json"), key=age)


def _read(file: Path) -> CrashReport | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=CrashReport)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("cannot read the crash report %s: %s", file, error)
        return None

"""Crash reports: what is known of a module's death, kept as files that outlive everything."""

from __future__ import annotations

import contextlib
import logging
import signal
from pathlib import Path
from typing import Any

import msgspec

from ipc.files import replace_file
from supervisor.telemetry.escaping import to_json

log = logging.getLogger(__name__)


class CrashReport(msgspec.Struct, frozen=True):
    """One death that nobody had asked for; `at` is in seconds since the epoch."""

    id: str
    module: str
    at: float
    pid: int
    uptime_seconds: float
    state: str
    """what the module was doing: starting, ready or stopping"""
    reason: str
    code: int | None
    """exit status, or else"""
    signal: str | None
    oom_killed: bool
    """the kernel says that it has killed for want of memory"""
    traceback: str
    in_hand: list[dict[str, Any]]
    """the messages that it was handling, without their content"""
    stderr: list[str]
    """the last lines that this process wrote; faulthandler's stacks are among them"""
    temporary: bool = False
    """it died of a condition that passes by itself, such as a full disk"""


def how_ended(code: int) -> str:
    """Say how a process ended; `code` is as in multiprocessing."""
    return f"killed by {signal_name(-code)}" if code < 0 else f"exit status {code}"


def signal_name(number: int) -> str:
    """Name a signal; real-time ones, which have no name each, as kill(1) does: SIGRTMIN+3."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    offset = number - signal.SIGRTMIN
    return f"SIGRTMIN+{offset}" if offset > 0 else f"signal {number}"  # the C library's own


class UnknownReport(LookupError):
    """There is no crash report of that id."""


class CrashReports:
    """A directory of reports, of which the newest `keep` stay.

    What cannot be written, for want of space, is kept in memory until it can.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self.keep = keep
        self._unwritten: dict[str, tuple[CrashReport, bytes]] = {}

    def put(self, report: CrashReport) -> None:
        """Write a report, whole or not at all, and drop the oldest ones."""
        content = msgspec.json.format(to_json(report), indent=1)
        begins = not self._unwritten
        self._unwritten[report.id] = report, content
        for old in list(self._unwritten)[: -self.keep]:
            del self._unwritten[old]
        error = self.write_rest()
        if error and begins:
            log.error("cannot write crash reports, they are kept in memory until then: %s", error)

    def write_rest(self) -> OSError | None:
        """Write what could not be written before; the error with which that failed."""
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
        """All reports, of one module or of all, oldest first."""
        unwritten = [report for report, _ in self._unwritten.values()]
        found = [*map(_read, self._files()), *unwritten]
        return [report for report in found if report and module in {"", report.module}]

    def get(self, report_id: str) -> CrashReport:
        """Read one report; UnknownReport if it is not there."""
        if report_id in self._unwritten:
            return self._unwritten[report_id][0]
        for file in self._files():
            if file.stem == report_id and (report := _read(file)):
                return report
        raise UnknownReport(f"there is no crash report {report_id!r} (any more)")

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("*.json"))


def _read(file: Path) -> CrashReport | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=CrashReport)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("the crash report %s cannot be read: %s", file, error)
        return None

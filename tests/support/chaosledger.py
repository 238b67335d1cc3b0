"""What is wrong after a chaos run, by the journals, the events, the crash reports and the log."""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from supervisor import client
from supervisor.telemetry.crash_reports import CrashReport
from supervisor.telemetry.state_changes import StateChange
from tests.support.chaos import LAG, LONG, Hit, Tormentor, explain, modules
from tests.support.chaosmodules import NAMES
from tests.support.journals import read

_CUT_SHORT: Final = r"module (\w+): the cleanup (was interrupted|failed|took more than)"
#: What the supervisor may find wrong in a chaos run.
_EXPECTED: Final = re.compile(
    r"module \w+: \w+ -> crashed"
    r"|module \w+: hung: no sign of life"
    r"|module \w+: process \d+ is suspended \(SIGSTOP"
    r"|module \w+: .* over max_(rss|fds)"
    r"|module \w+ did not stop (within [\d.]+ s|in time): killing it"
    rf"|{_CUT_SHORT}"
)
#: Reasons of a death that the supervisor brings about, by the cause of the restart after it.
_VERDICTS: Final = {
    "hung": "hung: ",
    "limit": " over max_",
    "start_timeout": "did not become ready within ",
}


class Events:
    """Every transition, followed while it happens."""

    def __init__(self, socket: Path) -> None:
        self.all: list[StateChange] = []
        self.births: list[StateChange] = []
        """when all is over"""
        self._thread = threading.Thread(target=self._follow, args=(socket,), daemon=True)
        self._thread.start()

    def _follow(self, socket: Path) -> None:
        for line in client.stream(socket, "/events?follow=true"):
            self.all.append(msgspec.json.decode(line, type=StateChange))

    def join(self) -> None:
        self._thread.join(LONG)
        assert not self._thread.is_alive(), "the stream of events did not end"
        self.births = self.born()

    def born(self, module: str = "") -> list[StateChange]:
        """Give the beginning of every life, of one module or of all."""
        return [e for e in self.all if e.new == "starting" and e.pid and module in {"", e.module}]

    def is_life(self, hit: Hit) -> bool:
        """Say whether a module was hit, and not a cleanup in a process of its own."""
        until = bisect_right(self.births, hit.at + LAG, key=lambda birth: birth.at)
        latest = {birth.module: birth for birth in self.births[:until]}  # which may be long ago
        recent = self.births[max(0, until - 10 * len(NAMES)) : until]
        return any(birth.pid == hit.pid for birth in (*latest.values(), *recent))

    def enabled_at(self, module: str) -> float:
        """Say since when the supervisor counts what a module does."""
        return max(e.at for e in self.all if e.module == module and e.old == "disabled")

    def phase(self, hit: Hit) -> str:
        """Say what the process that was hit was doing then."""
        if not self.is_life(hit):
            return "cleanup"  # in a fresh process
        before = [e for e in self.all if e.pid == hit.pid and e.at <= hit.at]
        return before[-1].new if before else "starting"


class Messages:
    """What one module sent to another, and what came of it."""

    def __init__(self, directory: Path, sender: str, receiver: str) -> None:
        self.route = f"{sender} -> {receiver}"
        noted = list(read(directory / f"sent-{sender}-{receiver}"))
        self.intended = {int(number) for kind, number in noted if kind == "intent"}
        self.sent = {int(number) for kind, number in noted if kind == "sent"}
        journal = read(directory / f"received-{receiver}")
        self.received = [
            (int(number), int(again)) for who, number, again in journal if who == sender
        ]
        self.lost = self.sent - {number for number, _ in self.received}

    @property
    def redelivered(self) -> int:
        return sum(again > 0 for _, again in self.received)

    def faults(self) -> Iterator[str]:
        """Tell what should not be: what was lost, made up, out of order or there twice unmarked."""
        if not self.sent:
            yield f"{self.route}: nothing was sent"
        if self.lost:
            yield f"{self.route}: lost {sorted(self.lost)[:10]}, {len(self.lost)} in all"
        last = 0
        seen: set[int] = set()
        for number, again in self.received:
            if number not in self.intended:
                yield f"{self.route}: {number} came, which was never sent"
            if number in seen:
                if not again:
                    yield f"{self.route}: {number} came again, unmarked"
                continue
            seen.add(number)
            if number < last:
                yield f"{self.route}: {number} came after {last}"
            last = number


class Lives:
    """How often a module started, and was cleaned up after, by its own journal."""

    def __init__(self, directory: Path, module: str) -> None:
        self.module = module
        noted = list(read(directory / f"lives-{module}"))
        self.started = [words[1] for words in noted if words[0] == "start"]
        self.cleanups = [(words[1], int(words[2])) for words in noted if words[0] == "cleanup"]
        self.cleaned = [(words[1], int(words[2])) for words in noted if words[0] == "cleaned"]

    def faults(self, tormentor: Tormentor, events: Events) -> Iterator[str]:
        """Tell which life was not cleaned up after exactly once, and not because of a fault.

        A cleanup that is killed is not begun again. The supervisor says so, each time; that is
        all that is known of one that was killed before its first line.
        """
        starts, cleanups = Counter(self.started), Counter(life for life, _ in self.cleanups)
        for life in (starts.keys() | cleanups.keys()) - {"unborn"}:
            if starts[life] > 1 or cleanups[life] > 1:
                yield f"{self.module}: {life}: {starts[life]} starts, {cleanups[life]} cleanups"
        early = len(events.born(self.module)) - len(starts)  # ended before `start`
        of_early = sum(times for life, times in cleanups.items() if life not in starts)
        if of_early > early:
            yield f"{self.module}: {of_early} cleanups of {early} lives that did not come to start"
        hit = {hit.pid for hit in tormentor.hits}
        unfinished = set(self.cleanups) - set(self.cleaned)
        for life, pid in unfinished:
            if pid not in hit:
                yield f"{self.module}: nobody hit the cleanup {pid} of {life}, but it did not end"
        cut_short = early + len(starts) - len(self.cleanups) + len(unfinished)
        told = [who for who, _ in re.findall(_CUT_SHORT, tormentor.running.log)].count(self.module)
        if cut_short > told:
            yield f"{self.module}: {cut_short} cleanups did not end, of which {told} were told"


def faults_of_deaths(
    tormentor: Tormentor, events: Events, reports: list[CrashReport], status: dict[str, Any]
) -> Iterator[str]:
    """Tell which deaths nobody has caused, and which were not noted."""
    hits: dict[int, list[Hit]] = {}
    for hit in tormentor.hits:
        hits.setdefault(hit.pid, []).append(hit)
    for report in reports:
        dealt = [hit.fault.name for hit in hits.get(report.pid, [])]
        if not explain(hits.get(report.pid, []), report):
            end = f"{report.signal or report.code}, {report.reason!r}"
            yield f"{report.module}[{report.pid}] was dealt {dealt}, but its end was {end}"
    reported = {report.pid for report in reports}
    asked = {event.pid for event in events.all if event.new == "stopping"}
    for birth in events.born():
        if birth.pid not in reported | asked:
            yield f"{birth.module}[{birth.pid}] has ended without a report"
    if [event.number for event in events.all] != list(range(1, len(events.all) + 1)):
        yield "there are events missing"
    for module in modules(status):
        yield from _faults_of_restarts(module, tormentor, events, reports)


def _faults_of_restarts(
    module: dict[str, Any], tormentor: Tormentor, events: Events, reports: list[CrashReport]
) -> Iterator[str]:
    """Compare the supervisor's counts with what happened; a verb may have come in between."""
    name, causes = module["name"], module["restarts_by_cause"]
    since = events.enabled_at(name)
    lives = sum(birth.at > since for birth in events.born(name))
    if module["restarts"] != lives - 1:
        yield f"{name}: {module['restarts']} restarts, but {lives} lives"
    reasons = [report.reason for report in reports if report.module == name and report.at > since]
    for cause, text in _VERDICTS.items():
        found = sum(text in reason for reason in reasons)
        if not found - len(tormentor.verbs) <= causes.get(cause, 0) <= found:
            yield f"{name}: {causes} restarts, but {found} reports with {text!r}"
    if module["inbox"]["dead_letters"]:
        yield f"{name}: {module['inbox']['dead_letters']} dead letters"


def faults_of_cleanups(tormentor: Tormentor, events: Events) -> Iterator[str]:
    """Tell whether more cleanups in fresh processes did not end than were hit."""
    hit = {(hit.pid, hit.born) for hit in tormentor.hits if not events.is_life(hit)}
    told = re.findall(_CUT_SHORT, tormentor.running.log)
    fresh = sum(how != "was interrupted" for _, how in told)
    if fresh > len(hit):
        yield f"{fresh} cleanups in fresh processes did not end, of which {len(hit)} were hit"


def faults_of_log(log: str) -> Iterator[str]:
    """Tell what the supervisor complained of, beside deaths and cleanups that were cut short."""
    for line in re.findall(r"^[WEF]\d{4} \S+ supervisor\[\d+\] .*$", log, re.MULTILINE):
        if not _EXPECTED.search(line):
            yield line
    if "log lines were dropped" in log:
        yield "the log has gaps"


def all_messages(directory: Path) -> list[Messages]:
    return [Messages(directory, a, b) for a in NAMES for b in NAMES if a != b]

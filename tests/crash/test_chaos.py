"""Everything at once: modules that talk to each other suffer every fault, again and again.

`CHAOS` in the environment says for how many seconds (`make chaos CHAOS=600` for a long run), and
`SEED` which faults hit whom, the same ones each time in `make test`; when they do is left to the
machine.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from bench.figures import Figure, publish
from supervisor.telemetry.crash_reports import CrashReport, CrashReports
from tests.support.chaos import FAULTS, KILL, Tormentor
from tests.support.chaosledger import (
    Events,
    Lives,
    Messages,
    all_messages,
    faults_of_cleanups,
    faults_of_deaths,
    faults_of_log,
)
from tests.support.chaosmodules import NAMES
from tests.support.running import Running

Found = TypeVar("Found")

CHAOS = float(os.environ.get("CHAOS", "0"))
SECONDS = CHAOS or 10.0
SEED = int(os.environ.get("SEED") or (random.randrange(2**32) if CHAOS else 1))

#: What the supervisor keeps for people, and fills up in the course of a run: the last 256 KiB of
#: each module's output and of its own, in pieces with a head each, and the last 1000 events.
BOUNDED = 4 * (256 << 10) * 2 + 1000 * 1024

SETS = (
    # Any number of deaths with the same message in hand: none of them is the message's doing.
    "supervisor.max_deliveries=255",
    "supervisor.max_restarts=1000000",
    "supervisor.backoff_max=0.3",
    "supervisor.healthy_after=1.0",
    "supervisor.watchdog=3.0",
    "supervisor.start_timeout=5.0",
    "supervisor.stop_timeout=3.0",
    "supervisor.max_rss=150000000",
    "supervisor.max_fds=450",
    "supervisor.limit_grace=0.3",
    "supervisor.crash_reports=1000000",
)


@dataclass(frozen=True)
class Footprint:
    """What the supervisor takes: what each descriptor is, and its memory in bytes."""

    descriptors: Counter[str]
    memory: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        opened = list(links(pid))
        kinds = Counter(each.partition(":[")[0] for each in opened)
        return cls(kinds, anonymous(pid))

    @classmethod
    def least(cls, pid: int) -> Footprint:
        """Take it without the connection of who has just asked for the status."""
        return min((cls.of(pid) for _ in range(20)), key=lambda each: each.descriptors.total())


def links(pid: int) -> Iterator[str]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(path.readlink())


def anonymous(pid: int) -> int:
    """Memory of a process's own, whether or not those that it has forked share it still."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@pytest.fixture
def mark() -> Iterator[str]:
    """An environment variable by which all that has descended from the supervisor is found."""
    mark = f"CHAOS_RUN={uuid.uuid4()}"
    yield mark
    for pid in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(180 + 2 * CHAOS)
def test_nothing_is_lost_and_nothing_is_left(tmp_path: Path, mark: str) -> None:
    print(f"\nseed {SEED}, {SECONDS:g} s")
    journals = tmp_path / "journals"
    journals.mkdir()
    (journals / "quiet").touch()
    env = dict([mark.split("=")])
    with Running(tmp_path, *NAMES, sets=SETS, env=env) as running, logged(running):
        running.ready(*NAMES)
        events, tormentor = Events(running.admin_socket), Tormentor(running, random.Random(SEED))
        warm_up(tormentor)
        before = Footprint.least(running.process.pid)
        memory: list[int] = []
        tormentor.torment(SECONDS, lambda: memory.append(anonymous(running.process.pid)))
        status = tormentor.settle()
        tormentor.close()
        more = lasting(lambda: Footprint.of(running.process.pid).descriptors - before.descriptors)
        after = Footprint.of(running.process.pid)
        strays = lasting(lambda: [pid for pid in marked(mark) if not belongs(pid, running)])
        zombies = lasting(tormentor.zombies)
        running.signal(signal.SIGTERM)
        running.listen(60)
        assert running.wait() == 0
        events.join()
    reports = CrashReports(tmp_path / "crashes", keep=0).reports()
    exchanged = all_messages(journals)
    lives = [Lives(journals, name) for name in NAMES]
    publish_figures(tormentor, events, reports, exchanged, lives, before, after, memory)
    faults = [
        *(fault for messages in exchanged for fault in messages.faults()),
        *(fault for each in lives for fault in each.faults(tormentor, events)),
        *faults_of_cleanups(tormentor, events),
        *faults_of_deaths(tormentor, events, reports, status),
        *faults_of_log(running.log),
        *(f"{each} was not dealt" for each in {f.name for f in FAULTS} - dealt(tormentor)),
        *(f"{pid} is left behind" for pid in strays),
        *(f"{pid} is a zombie" for pid in zombies),
        *(f"{pid} has outlived the supervisor" for pid in lasting(lambda: list(marked(mark)))),
        *(f"{each.name} is left in the run directory" for each in (tmp_path / "run").iterdir()),
    ]
    assert not faults, "\n".join(faults)
    assert not more
    half = len(memory) // 2
    grown = statistics.median(memory[-half // 2 :]) - statistics.median(memory[half // 2 : half])
    assert grown < BOUNDED


@contextlib.contextmanager
def logged(running: Running) -> Iterator[None]:
    """Leave the log behind, for who has to find out."""
    try:
        yield
    finally:
        (running.base / "log").write_text(running.log)


def warm_up(tormentor: Tormentor) -> None:
    """Let the supervisor do once what it is going to do: what it imports then is no growth."""
    running = tormentor.running
    (running.base / "journals" / "quiet").unlink()
    for name in NAMES:
        tormentor.deal(running.module(name)["pid"], KILL)
        running.wait_for(f"module {name}: ready -> crashed")
        running.ready(name)
        for verb in ("restart", "disable", "enable"):
            running.post(f"/modules/{name}/{verb}")
    running.post("/reload")
    tormentor.settle()
    tormentor.resume()


# --------------------------------------------------------------------------- what is left


def lasting(find: Callable[[], Found]) -> Found:
    """Give what is found, unless it ends within 20 s: what was killed or closed takes a moment."""
    deadline = time.monotonic() + 20
    while (found := find()) and time.monotonic() < deadline:
        os.sched_yield()
    return found


def marked(mark: str) -> Iterator[int]:
    """Find everything that has descended from the supervisor: it has its environment."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if mark.encode() in environment.split(b"\0"):
            yield int(path.name)


def belongs(pid: int, running: Running) -> bool:
    """Whether a process is the supervisor, or in the group of a module that lives."""
    alive = {module["pid"] for module in running.status()["modules"]}
    with contextlib.suppress(ProcessLookupError):
        return pid == running.process.pid or os.getpgid(pid) in alive
    return True  # it has just ended


# ---------------------------------------------------------------------------- the figures


def dealt(tormentor: Tormentor) -> set[str]:
    return {hit.fault.name for hit in tormentor.hits}


def publish_figures(
    tormentor: Tormentor,
    events: Events,
    reports: list[CrashReport],
    exchanged: list[Messages],
    lives: list[Lives],
    before: Footprint,
    after: Footprint,
    memory: list[int],
) -> None:
    """Print the figures; a run that was asked for is published as any benchmark."""
    figures = []

    def tell(case: str, values: dict[str, float], unit: str = "") -> None:
        figures.extend(Figure(case, "cloudcore", key, value, unit) for key, value in values.items())

    tell("faults, by kind", dict(sorted(Counter(hit.fault.name for hit in tormentor.hits).items())))
    tell("faults, by what was hit", Counter(events.phase(hit) for hit in tormentor.hits))
    tell("verbs", Counter(tormentor.verbs))
    tell("deaths", {"reported": len(reports), "lives": len(events.born())})
    tell(
        "messages",
        {
            "sent": sum(len(each.sent) for each in exchanged),
            "received": sum(len(each.received) for each in exchanged),
            "redelivered": sum(each.redelivered for each in exchanged),
            "lost": sum(len(each.lost) for each in exchanged),
        },
    )
    tell(
        "cleanups",
        {
            "begun": sum(len(each.cleanups) for each in lives),
            "ended": sum(len(each.cleaned) for each in lives),
        },
    )
    case = "crashed to ready, with cleanup and backoff"
    tell(case, {"median": round(statistics.median(restarts(events)), 1)}, "ms")
    for when, each in (("before", before), ("after", after)):
        tell("descriptors of the supervisor", {when: each.descriptors.total()})
    for when, value in (("before", before.memory), ("after", after.memory), ("most", max(memory))):
        tell("memory of the supervisor", {when: round(value / 2**20, 2)}, "MiB")
    how = f"{SECONDS:g} s of chaos, seed {SEED}"
    if CHAOS:
        publish("chaos", how, figures)
        return
    print(how, *(f"{f.case}: {f.metric} {f.value:,} {f.unit}" for f in figures), sep="\n")


def restarts(events: Events) -> list[float]:
    """Milliseconds from each death to the replacement's being ready; other deaths may intervene."""
    times = []
    for name in NAMES:
        died = 0.0
        for event in events.all:
            if event.module == name and event.new == "crashed":
                died = died or event.at
            elif event.module == name and event.new == "ready" and died:
                times.append((event.at - died) * 1e3)
                died = 0.0
    return times

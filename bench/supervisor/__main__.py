"""The cost of supervision, compared with supervisord and circus for three similar programs.

Run with `make bench-supervisor`, which makes the peers' environment:

    python -m bench.supervisor [--kills 11] [--starts 5] [--idle 10] [--asks 21]

A restart is the time from SIGKILL until the replacement reports that it is ready, through a pipe
(small programs) or to the supervisor (cloudcore's own modules). The peers poll: their programs are
killed at random times between two polls.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import psutil

from bench.figures import Figure, compared, median, percentile, publish, say
from bench.supervisor.measures import Ready, idle_shares, memory, tree, wait_until_ready
from bench.supervisor.systems import NAMES, System, circus, cloudcore, real_modules, supervisord
from supervisor import client

REAL = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")
#: Seconds for which a system is still busy with its start.
SETTLING = 2.0
#: Factor of the number of kills for the system that restarts at once.
MORE = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=11)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds")
    parser.add_argument("--asks", type=int, default=21)
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        ready = Ready(base / "fifo")
        systems = [
            cloudcore(base / "cloudcore", ready.fifo),
            supervisord(base / "supervisord", ready.fifo),
            circus(base / "circus", ready.fifo),
            circus(base / "eager", ready.fifo, check_delay=0.1),
        ]
        for system in systems:
            say(f"three small programs under {system.name}")
            figures += of_small_programs(system, ready, options)
        say("the status commands")
        figures += of_status(systems[:3], ready, options.asks)
        for preload in (True, False):
            system = real_modules(base / f"real-{preload}", preload=preload)
            say(f"the four modules of {system.name}")
            figures += of_real_modules(system, options)
    how = (
        f"{options.starts} starts, {options.kills} kills (of cloudcore's small modules "
        f"{options.kills * MORE}), idle for {options.idle:g} s, status asked {options.asks} times; "
        f"{os.cpu_count()} cores, Python {platform.python_version()}"
    )
    publish("supervisor", how, [*figures, *compared(figures, "cloudcore")])


# --------------------------------------------------------------------- small programs


def of_small_programs(
    system: System, ready: Ready, options: argparse.Namespace
) -> Iterator[Figure]:
    starts = list(cold_starts(system, lambda: ready.wait(*NAMES), options.starts))
    yield Figure(
        "cold start of three small modules", system.name, "median", median(starts, 1), "ms"
    )
    with system.running() as parent:
        pids = ready.wait(*NAMES)
        case = "three small modules, idle"
        yield Figure(case, system.name, "RSS of the tree", memory(tree(parent), "Rss:"), "MiB")
        yield Figure(case, system.name, "PSS of the tree", memory(tree(parent), "Pss:"), "MiB")
        yield from of_idle(case, system, parent, options.idle)
        kills = options.kills * (MORE if system.name == "cloudcore" else 1)
        say(f"  {kills} restarts")
        times = list(restarts(system, ready, pids, kills))
    yield from of_times("restart of a small module", system, times)


def cold_starts(system: System, ready: Callable[[], object], count: int) -> Iterator[float]:
    """Yield the milliseconds from the start of the daemon until all programs are ready."""
    for number in range(count):
        say(f"  start {number + 1} of {count}")
        started = time.perf_counter()
        with system.running():
            ready()
            yield (time.perf_counter() - started) * 1e3


def restarts(system: System, ready: Ready, pids: dict[str, int], kills: int) -> Iterator[float]:
    """Yield the milliseconds of each restart; one program after the other is killed."""
    for _, name in zip(range(kills), cycle(NAMES), strict=False):
        time.sleep(random.uniform(*system.pause))
        started = time.perf_counter()
        os.kill(pids[name], signal.SIGKILL)
        pids |= ready.wait(name)
        yield (time.perf_counter() - started) * 1e3


def of_times(case: str, system: System, times: list[float]) -> Iterator[Figure]:
    yield Figure(case, system.name, "median", median(times, 1), "ms")
    yield Figure(case, system.name, "p99", round(percentile(times, 99), 1), "ms")


def of_idle(case: str, system: System, parent: psutil.Process, seconds: float) -> Iterator[Figure]:
    """Yield what the idle tree of processes uses, and its parent."""
    say(f"  idle for {seconds:g} s")
    time.sleep(SETTLING)
    whole, own = idle_shares([tree(parent), [parent]], seconds)
    yield Figure(case, system.name, "CPU of the tree", whole, "% of a core")
    yield Figure(case, system.name, "CPU of the parent", own, "% of a core")
    private = memory([parent], "Private_")
    yield Figure(case, system.name, "private memory of the parent", private, "MiB")
    yield Figure(case, system.name, "threads of the parent", parent.num_threads(), "")


def of_status(systems: list[System], ready: Ready, asks: int) -> Iterator[Figure]:
    """Measure the status command, in turns for all systems: other load disturbs all alike."""
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    spent: dict[str, list[float]] = {system.name: [] for system in systems}
    with ExitStack() as stack:
        for system in systems:
            stack.enter_context(system.running())
            ready.wait(*NAMES)
        for _ in range(asks):
            for system in systems:
                before, started = cpu_of_children(), time.perf_counter()
                system.ask_status()
                times[system.name].append((time.perf_counter() - started) * 1e3)
                spent[system.name].append((cpu_of_children() - before) * 1e3)
    for system in systems:
        case = "status, the whole command"
        yield from of_times(case, system, times[system.name])
        yield Figure(case, system.name, "CPU", median(spent[system.name], 1), "ms")


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# --------------------------------------------------------------- cloudcore's own modules


def of_real_modules(system: System, options: argparse.Namespace) -> Iterator[Figure]:
    socket = system.base / "run" / "admin.sock"

    def ready() -> None:
        wait_until_ready(socket, REAL)

    starts = list(cold_starts(system, ready, options.starts))
    yield Figure("cold start of the four modules", system.name, "median", median(starts, 1), "ms")
    with system.running() as parent:
        ready()
        case = "the four modules, idle"
        yield Figure(case, system.name, "RSS of the tree", memory(tree(parent), "Rss:"), "MiB")
        yield Figure(case, system.name, "PSS of the tree", memory(tree(parent), "Pss:"), "MiB")
        private = memory(parent.children(), "Private_")
        yield Figure(case, system.name, "private memory of the modules", private, "MiB")
        yield from of_idle(case, system, parent, options.idle)
        for module in REAL:
            say(f"  {options.kills} restarts of {module}")
            times = list(real_restarts(system, socket, module, options.kills))
            yield from of_times(f"restart of {module}", system, times)


def real_restarts(system: System, socket: Path, module: str, kills: int) -> Iterator[float]:
    """Yield the milliseconds from each SIGKILL until the supervisor knows of a ready one."""
    for _ in range(kills):
        time.sleep(random.uniform(*system.pause))
        modules = client.request(socket, "GET", "/status")["modules"]
        pid = next(each["pid"] for each in modules if each["name"] == module)
        last = client.request(socket, "GET", "/events")[-1]
        events = client.stream(socket, f"/events?follow=true&since={last['number'] - 1}")
        assert json.loads(next(events)) == last  # from here on no event is missed
        started = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        for line in events:
            if f'"module":"{module}"' in line and '"new":"ready"' in line:
                break
        yield (time.perf_counter() - started) * 1e3
        events.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()

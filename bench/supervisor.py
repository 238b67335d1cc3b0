"""What supervision costs: time to replace a killed process, and what the parent itself takes.

Beside cloudcore: circus (circusd), with the same small program as its only watcher and
looking after it as often as it can (check_delay 0.1, warmup_delay 0). The program writes its
process id into a pipe when it is ready; what is measured is SIGKILL to that. Run with

    python -m bench.supervisor [--kills 15] [--idle 20]

Prints a table of medians and writes bench/out/supervisor.json.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.figures import Figure, median, publish
from supervisor import client

DEADLINE = 30.0
PROGRAM = """
import os, signal
os.write(os.open({!r}, os.O_WRONLY), b"%d\\n" % os.getpid())
signal.pause()
"""
REAL = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--idle", type=float, default=20.0, help="seconds")
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        figures += small_program(base, options.kills)
        for preload in (True, False):
            figures += real_modules(base / f"real-{preload}", options, preload=preload)
        figures += circus_idle(base, options.idle)
    how = f"medians of {options.kills} kills; idle for {options.idle:g} s"
    publish("supervisor", how, figures)


# ------------------------------------------------------------------------- restarts


def small_program(base: Path, kills: int) -> list[Figure]:
    """A program that does nothing, under both."""
    case = "a small program"
    return [
        Figure(case, system, "SIGKILL to ready", median(times, 1), "ms")
        for system, times in (
            ("cloudcore", list(kills_of_cloudcore(base / "small", kills))),
            ("circus", list(kills_of_circus(base / "circus", kills))),
        )
    ]


def kills_of_cloudcore(base: Path, kills: int) -> Iterator[float]:
    base.mkdir()
    command = [sys.executable, "-m", "tests.support.testbed", str(base), "good"]
    limit = ["supervisor.max_restarts=1000"]
    with process([*command, *limit]):
        wait_ready(base / "run", ["good"])
        yield from kill_again_and_again(base / "run", "good", kills)


def kill_again_and_again(run_dir: Path, module: str, kills: int) -> Iterator[float]:
    """Milliseconds from each SIGKILL until the supervisor has heard that the next one is ready."""
    socket = run_dir / "admin.sock"
    for _ in range(kills):
        # Longer than healthy_after would be too slow: the backoff is not what is measured.
        target = f"/modules/{module}/restart"
        status = client.request(socket, "POST", target, timeout=DEADLINE)
        events = client.stream(socket, f"/events?follow=true&module={module}&since=1000000000")
        started = time.perf_counter()
        os.kill(status["pid"], signal.SIGKILL)
        for line in events:
            if '"new":"ready"' in line:
                break
        yield (time.perf_counter() - started) * 1e3
        events.close()  # type: ignore[attr-defined]


def kills_of_circus(base: Path, kills: int) -> Iterator[float]:
    with circus(base) as (said, _):
        pid = int(said())
        for _ in range(kills):
            started = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            pid = int(said())
            yield (time.perf_counter() - started) * 1e3


@contextmanager
def circus(base: Path) -> Iterator[tuple[Callable[[], str], psutil.Process]]:
    """Run circusd with the program; gives what its program says next, and the parent."""
    base.mkdir()
    fifo, script, settings = base / "fifo", base / "program.py", base / "circus.ini"
    os.mkfifo(fifo)
    script.write_text(PROGRAM.format(str(fifo)))
    settings.write_text(
        f"[circus]\ncheck_delay = 0.1\nendpoint = ipc://{base}/e\npubsub_endpoint = ipc://{base}/p\n"
        f"[watcher:small]\ncmd = {sys.executable} {script}\nwarmup_delay = 0\nnumprocesses = 1\n"
    )
    reading = os.open(fifo, os.O_RDWR)
    daemon = [sys.executable, "-m", "circus.circusd", "--log-level", "error", str(settings)]

    def said() -> str:
        ready, _, _ = select.select([reading], [], [], DEADLINE)
        assert ready, "circus did not start its program in time"
        return os.read(reading, 100).decode().split()[-1]

    try:
        with process(daemon) as parent:
            yield said, parent
    finally:
        os.close(reading)


def real_modules(base: Path, options: argparse.Namespace, *, preload: bool) -> list[Figure]:
    """cloudcore's own modules, and what its parent takes."""
    base.mkdir()
    system = "cloudcore" if preload else "cloudcore, preload = false"
    sets = ["modules.apiserver.port=0", "modules.cloudhub.port=0", "supervisor.max_restarts=1000"]
    command = [sys.executable, "-m", "supervisor", "run"]
    command += ["--run-dir", str(base / "run"), "--data-dir", str(base / "data")]
    for text in (*sets, f"supervisor.preload={str(preload).lower()}"):
        command += ["--set", text]
    figures = []
    with process(command) as parent:
        wait_ready(base / "run", REAL)
        figures += parent_figures(system, parent, options.idle)
        private = sum(private_memory(child) for child in parent.children())
        figures.append(Figure("four modules", system, "private memory", private, "MiB"))
        for module in REAL:
            times = list(kill_again_and_again(base / "run", module, options.kills))
            figures.append(Figure(module, system, "SIGKILL to ready", median(times, 1), "ms"))
    return figures


def circus_idle(base: Path, idle: float) -> list[Figure]:
    with circus(base / "idle") as (said, parent):
        said()
        return parent_figures("circus", parent, idle)


# ---------------------------------------------------------------------- the parent


def parent_figures(system: str, parent: psutil.Process, idle: float) -> list[Figure]:
    before, started = cpu(parent), time.perf_counter()
    time.sleep(idle)
    share = (cpu(parent) - before) / (time.perf_counter() - started) * 100
    case = "the parent, idle"
    return [
        Figure(case, system, "private memory", private_memory(parent), "MiB"),
        Figure(case, system, "CPU", round(share, 3), "% of a core"),
        Figure(case, system, "threads", parent.num_threads(), ""),
    ]


def cpu(process: psutil.Process) -> float:
    """CPU time in seconds, to the nanosecond: idle processes use less than a tick."""
    text = Path(f"/proc/{process.pid}/schedstat").read_text()
    return int(text.split()[0]) / 1e9


def private_memory(process: psutil.Process) -> float:
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    kib = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return round(kib / 1024, 1)


@contextmanager
def process(command: list[str]) -> Iterator[psutil.Process]:
    """Run a command, and end it in order."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield psutil.Process(running.pid)
        finally:
            running.terminate()
            running.wait(DEADLINE)


def wait_ready(run_dir: Path, modules: tuple[str, ...] | list[str]) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        assert time.monotonic() < deadline, "the modules did not become ready"
        try:
            status = client.request(run_dir / "admin.sock", "GET", "/status")
        except (client.NotRunning, client.AdminError):
            time.sleep(0.05)
            continue
        states = {module["name"]: module["state"] for module in status["modules"]}
        if all(states[name] == "ready" for name in modules):
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main()

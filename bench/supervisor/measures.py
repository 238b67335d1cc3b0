"""Measurements of processes: when they are ready, their memory and their CPU time."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from bench.supervisor.systems import DEADLINE
from supervisor import client


class Ready:
    """A pipe into which programs write `NAME PID` as soon as they are ready."""

    def __init__(self, fifo: Path) -> None:
        os.mkfifo(fifo)
        self.fifo = fifo
        self._reading = os.open(fifo, os.O_RDWR)  # so that it never ends
        self._said: list[tuple[str, int]] = []

    def wait(self, *names: str) -> dict[str, int]:
        """Wait until each program has reported once more; return their process ids."""
        pids: dict[str, int] = {}
        deadline = time.monotonic() + DEADLINE
        while missing := set(names) - set(pids):
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._reading], [], [], left)[0], f"not ready: {missing}"
            for line in os.read(self._reading, 4096).decode().splitlines():
                name, pid = line.split()
                pids[name] = int(pid)
        return pids


def wait_until_ready(socket: Path, modules: Sequence[str]) -> None:
    """Wait until modules of cloudcore are ready, by polling its status."""
    deadline = time.monotonic() + DEADLINE
    while True:
        assert time.monotonic() < deadline, "the modules did not become ready"
        try:
            status = client.request(socket, "GET", "/status")
        except (client.NotRunning, client.AdminError):
            time.sleep(0.02)
            continue
        states = {module["name"]: module["state"] for module in status["modules"]}
        if all(states[name] == "ready" for name in modules):
            return
        time.sleep(0.02)


def tree(parent: psutil.Process) -> list[psutil.Process]:
    return [parent, *parent.children(recursive=True)]


def memory(processes: Sequence[psutil.Process], kind: str) -> float:
    """Return the MiB of all; `kind` is the prefix of lines in smaps_rollup: Rss, Pss, Private_."""
    kib = 0
    for process in processes:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith(kind))
    return round(kib / 1024, 1)


def idle_shares(groups: Sequence[Sequence[psutil.Process]], seconds: float) -> list[float]:
    """Return the percentage of a core that each idle group of processes uses."""
    before, started = [cpu(group) for group in groups], time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - started
    return [
        round((cpu(group) - earlier) / took * 100, 3)
        for group, earlier in zip(groups, before, strict=True)
    ]


def cpu(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of all threads, to the nanosecond: idle ones use less than a tick."""
    return (
        sum(
            int(file.read_text().split()[0])
            for process in processes
            for file in Path(f"/proc/{process.pid}/task").glob("*/schedstat")
        )
        / 1e9
    )

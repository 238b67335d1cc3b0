"""The CPU time of processes."""

from __future__ import annotations

from pathlib import Path


def running_time(pid: int) -> float:
    """Return the CPU seconds of a process to the nanosecond; /proc/PID/stat has ticks of 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

"""Detection of the kernel's out-of-memory kills.

The exit code does not tell whether SIGKILL came from the kernel or from somebody else. But the
kernel counts its kills: for each cgroup (memory.events in version 2, memory.oom_control in
version 1), and for the whole machine (/proc/vmstat, since Linux 4.13).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class OomKills:
    """The kernel's count of kills, from the most exact source that this machine has."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._source = next((file for file in _sources(root) if _count(file) is not None), None)
        self._seen = self._read()

    def happened(self) -> bool:
        """Whether the kernel has killed a process since the previous call."""
        before, self._seen = self._seen, self._read()
        return self._seen > before

    def _read(self) -> int:
        return (_count(self._source) if self._source else None) or 0


def _sources(root: Path) -> Iterator[Path]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield root / f"sys/fs/cgroup{group}" / "memory.events"
        elif "memory" in controllers.split(","):
            yield root / f"sys/fs/cgroup/memory{group}" / "memory.oom_control"
            yield root / "sys/fs/cgroup/memory/memory.oom_control"  # inside a container
    yield root / "proc/vmstat"


def _count(file: Path) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    counts = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(counts["oom_kill"]) if "oom_kill" in counts else None

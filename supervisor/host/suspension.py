"""Whether a process is suspended: by a signal (SIGSTOP), or by a debugger."""

from __future__ import annotations

from pathlib import Path


def suspension(pid: int) -> str:
    """Return that a process is suspended, and how to continue it; empty if it is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # it is gone, or of another namespace
        return ""
    if state not in {"T", "t"}:
        return ""
    return f"process {pid} is suspended (SIGSTOP, or a debugger); `kill -CONT {pid}` continues it"

"""The clock by which logins end: the time since the boot, which nobody sets."""

from __future__ import annotations

import time
from pathlib import Path


def since_boot() -> float:
    """Return the seconds since the boot, those of a suspended machine included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return what is another text after each boot; empty if the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""

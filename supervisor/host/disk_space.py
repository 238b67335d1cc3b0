"""Whether a directory's file system is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def full_directory(*directories: Path) -> Path | None:
    """Return the first directory whose file system has no space left; None if there is none."""
    for directory in directories:
        with contextlib.suppress(OSError):
            if os.statvfs(directory).f_bavail == 0:
                return directory
    return None

"""Files that cannot be written for now: no space, no quota, a disk that fails.

Such a condition passes without a restart of anything, so whoever meets it keeps what it has in
memory, says so once, and tries again. Before a module is ready, the exception made here lets the
supervisor try again for as long as it lasts.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from supervisor.api import DiskFull, TemporaryFailure

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
# What SQLite says when it cannot write or make a file: the reason is another one each time.
_UNWRITABLE: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})

log = logging.getLogger(__name__)


def temporary(error: OSError | sqlite3.Error, path: Path) -> TemporaryFailure | None:
    """Return what to raise for an error that passes by itself, None for any other."""
    if isinstance(error, OSError):
        if error.errno in _NO_SPACE:
            return DiskFull(path, error.errno)
        return _failing(path, error) if error.errno == errno.EIO else None
    # Errors of Python's own binding have no code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code in _UNWRITABLE and _is_full(path.parent)):
        return DiskFull(path)
    return _failing(path, error) if code == sqlite3.SQLITE_IOERR else None


class Trouble:
    """Whether a file can be written; logs when that begins and when it ends."""

    def __init__(self, path: Path, meanwhile: str) -> None:
        """`meanwhile` tells people what goes on and what does not."""
        self.path = path
        self._meanwhile = meanwhile
        self._since = 0.0
        self.reason = ""
        """Why it cannot be written; empty when it can."""

    def began(self, failure: TemporaryFailure) -> None:
        if not self.reason:
            self._since = time.monotonic()
            log.error(f"{failure}; {self._meanwhile}; trying again until it works")
        self.reason = str(failure)

    def ended(self) -> None:
        if self.reason:
            log.info(f"{self.path} is written again after {time.monotonic() - self._since:.1f} s")
            self.reason = ""


def _failing(path: Path, error: Exception) -> TemporaryFailure:
    return TemporaryFailure(f"cannot write to {path}: {error}; check the disk")


def _is_full(directory: Path) -> bool:
    try:
        status = os.statvfs(directory)
    except OSError:
        return False
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)

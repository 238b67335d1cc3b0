"""Temporary failures of the disk: no space, no quota, I/O errors.

They pass without a restart. A running module keeps its state in memory, logs the failure once, and
retries. Before a module is ready, it exits with TemporaryFailure, and the supervisor retries the
start without counting a crash.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from pathlib import Path
from typing import Final

from ipc.files import NO_SPACE, is_full
from supervisor.api import DiskFull, TemporaryFailure

# A file system that has had I/O errors is mounted anew to be read alone (ext4, errors=remount-ro).
_FAILING: Final = frozenset({errno.EIO, errno.EROFS})
# Codes of SQLite for a file that it cannot write or create, whatever the reason.
_UNWRITABLE: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})

log = logging.getLogger(__name__)


def temporary(error: OSError | sqlite3.Error, path: Path) -> TemporaryFailure | None:
    """Return the exception to raise for an error that may pass, None for any other error."""
    if isinstance(error, OSError):
        if error.errno in NO_SPACE:
            return DiskFull(path, error.errno)
        return _failing(path, error) if error.errno in _FAILING else None
    # Errors of Python's own sqlite3 module have no code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code in _UNWRITABLE and is_full(path.parent)):
        return DiskFull(path)
    return _failing(path, error) if code == sqlite3.SQLITE_IOERR else None


class Trouble:
    """The state of a file that may not be writable; logs when a failure begins and ends."""

    def __init__(self, path: Path, meanwhile: str) -> None:
        """Set up; `meanwhile` is for the log: what works and what does not during a failure."""
        self.path = path
        self._meanwhile = meanwhile
        self._since = 0.0
        self.reason = ""
        """Why it cannot be written; empty when it can."""

    def began(self, failure: TemporaryFailure) -> None:
        if not self.reason:
            self._since = time.monotonic()
            log.error("%s; %s; trying again until it works", failure, self._meanwhile)
        self.reason = str(failure)

    def ended(self) -> None:
        if self.reason:
            log.info("%s is written again after %.1f s", self.path, time.monotonic() - self._since)
            self.reason = ""


def _failing(path: Path, error: Exception) -> TemporaryFailure:
    return TemporaryFailure(f"cannot write to {path}: {error}; check the disk")

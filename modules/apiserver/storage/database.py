"""The SQLite file of the store: its schema, its settings, and the lock against a second server."""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path
from typing import IO

from ipc.files import open_lock

SCHEMA_VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS objects (
    storage TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (storage, namespace, name)
);
CREATE TABLE IF NOT EXISTS revisions (storage TEXT PRIMARY KEY, revision INTEGER NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
"""
# A checkpoint runs within a commit, if the thread does not keep up (pages of 4 KiB).
CHECKPOINT_PAGES = 20_000
# The file of the write-ahead log is truncated to this size after a checkpoint.
LOG_BYTES = 16 * 1024 * 1024


class StoreError(Exception):
    """The file cannot be used; the message says why and what to do."""


class StoreInUseError(StoreError):
    """Another process holds the lock of the file; it may be about to exit."""


def lock_database(path: Path) -> IO[bytes]:
    lock = open_lock(path.with_name(f"{path.name}.lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreInUseError(
            f"{path} is in use by another apiserver: stop that one, or use another --data-dir"
        ) from None
    return lock


def open_database(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    database = sqlite3.connect(path, isolation_level=None)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        database.close()
        raise sqlite3.DatabaseError(
            f"it was written by a newer cloudcore (schema {version}, known is {SCHEMA_VERSION})"
        )
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    database.executescript(_SCHEMA)
    return database

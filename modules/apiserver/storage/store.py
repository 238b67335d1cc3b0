"""The store: all objects in memory as bytes, every change written to one SQLite file first.

A change is committed before it is visible in memory, to watches or to the client, in the same step
of the event loop: so no client sees a change that a SIGKILL can undo. The write-ahead log is not
synced at every commit (`synchronous=NORMAL`): a killed process loses nothing; a machine that loses
power may lose the last commits, but the file stays consistent.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modules.apiserver.catalog import Catalog
from modules.apiserver.meta.objects import Key
from modules.apiserver.storage.collection import Collection
from modules.apiserver.storage.database import StoreError, lock_database, open_database
from modules.apiserver.storage.revisions import Mark, wall_clock
from modules.apiserver.storage.transaction import Change, Transaction
from modules.apiserver.storage.unusable import UnusableObjects, usable
from modules.common.disk_failures import Trouble, temporary

log = logging.getLogger(__name__)

_PUT = (
    "INSERT INTO objects (storage, namespace, name, revision, body) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET revision = excluded.revision, body = excluded.body"
)
_REMOVE = "DELETE FROM objects WHERE storage = ? AND namespace = ? AND name = ?"
_REVISION = (
    "INSERT INTO revisions (storage, revision) VALUES (?, ?) "
    "ON CONFLICT DO UPDATE SET revision = excluded.revision"
)
# The key of the whole store in the table of revisions, beside those of its kinds.
_WHOLE_STORE = ""
# A checkpoint runs in a thread after this many commits; see `open_database` too.
CHECKPOINT_COMMITS = 2000


class Store:
    """The objects of all kinds, and the only writer of their file; used from one thread."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = wall_clock) -> None:
        """Open the file and lock it against a second server; raises StoreError."""
        self.path = path
        self.aside = UnusableObjects(path)
        self.trouble = Trouble(path, "what is stored is served, and writes are refused (507, 503)")
        self._collections: dict[str, Collection] = {}
        self._commits = 0
        self._lock = lock_database(path)
        try:
            self._database = open_database(path)
            self._begin(clock)
        except (OSError, sqlite3.DatabaseError) as error:
            self._lock.close()
            if failure := temporary(error, path):
                raise failure from error
            raise StoreError(
                f"cannot use {path}: {error}. If the file is damaged, put back a copy, or move it "
                "away to start with an empty cluster"
            ) from error

    def _begin(self, clock: Callable[[], int]) -> None:
        """Choose the first revision, ahead of every one used before; see revisions.py."""
        (last,) = self._database.execute("SELECT max(revision) FROM revisions").fetchone()
        self._mark = Mark(self._lock.fileno())
        # The last revision that the database knows, and the first one since the start. A revision
        # between them can only be from a database that was since replaced by a backup.
        self._last = last or 0
        self._first = self.revision = self._mark.first(self._last, clock())
        self._mark.reserve(self.revision)
        # Stored, so that the database knows this revision after the next start.
        self._database.execute(_REVISION, (_WHOLE_STORE, self.revision))

    def load(self, catalog: Catalog) -> None:
        """Read the objects of those kinds in `catalog` that have not been read yet.

        Objects of other kinds and unusable objects (see unusable.py) stay in the file only.
        """
        served = {resource.storage: resource for resource in catalog.stored()}
        new = served.keys() - self._collections.keys()
        for storage, revision in self._database.execute("SELECT storage, revision FROM revisions"):
            if storage in new:
                self._collections[storage] = Collection(revision)
        for storage in new:
            collection = self.collection(storage)
            resource = served[storage]
            rows = self._database.execute(
                "SELECT namespace, name, revision, body FROM objects WHERE storage = ?", (storage,)
            )
            for namespace, name, revision, body in rows:
                key = (namespace, name)
                try:
                    collection.put(usable(key, revision, body, resource))
                except ValueError as error:
                    self.aside.add(storage, key, str(error))

    def put_aside(self, storage: str, key: Key, reason: str) -> None:
        """Set aside an object that was read and is unusable: it stays in the file only."""
        self.collection(storage).remove(key)
        self.aside.add(storage, key, reason)

    def discard(self, storage: str, key: Key) -> None:
        """Delete an object that was set aside."""
        with self._writing():
            self._database.execute(_REMOVE, (storage, *key))
        self.aside.forget(storage, key)

    def discard_all(self, storage: str) -> None:
        """Delete the objects of a kind that is not served."""
        with self._writing():
            self._database.execute("DELETE FROM objects WHERE storage = ?", (storage,))

    def collection(self, storage: str) -> Collection:
        """Return the collection of a storage name; it is empty if nothing was ever stored."""
        if storage not in self._collections:
            self._collections[storage] = Collection(0)
        return self._collections[storage]

    def gave_out(self, revision: int) -> bool:
        """Whether `revision` is of this database, not of the future or of a replaced one."""
        return revision <= self._last or self._first <= revision <= self.revision

    def __len__(self) -> int:
        return sum(len(collection.entries) for collection in self._collections.values())

    def transaction(self, *, dry_run: bool = False) -> Transaction:
        """Return a context manager that commits on exit, unless by an exception."""
        return Transaction(self, dry_run=dry_run)

    def commit(self, changes: Iterable[Change]) -> None:
        """Write to the file, then to memory, and wake the watches.

        Raises TemporaryFailure while the disk is full or fails; then nothing has changed.
        """
        changes = list(changes)
        if not changes:
            return
        with self._writing():
            self._write(changes)
        for storage, event in changes:
            collection = self.collection(storage)
            if event.type == "DELETED":
                collection.remove(event.entry.key)
            else:
                collection.put(event.entry)
                self.aside.forget(storage, event.entry.key)
            collection.history.append(event)
            self.revision = event.revision
        self._commits += 1

    def probe(self) -> None:
        """Write without a change, to test whether the disk works; raises as `commit` does."""
        with self._writing():
            self._database.execute(_REVISION, (_WHOLE_STORE, self.revision))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Record whether the file can be written; raises TemporaryFailure while it cannot."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            failure = temporary(error, self.path)
            if failure is None:
                raise
            self.trouble.began(failure)
            raise failure from error
        self.trouble.ended()

    def _write(self, changes: list[Change]) -> None:
        self._mark.reserve(changes[-1].event.revision)
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            for storage, event in changes:
                key = event.entry.key
                if event.type == "DELETED":
                    execute(_REMOVE, (storage, *key))
                else:
                    execute(_PUT, (storage, *key, event.revision, event.entry.raw))
            # The last revision of each kind.
            revisions = {storage: event.revision for storage, event in changes}
            for revision in revisions.items():
                execute(_REVISION, revision)
            execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                execute("ROLLBACK")
            raise

    def wants_checkpoint(self) -> bool:
        return self._commits >= CHECKPOINT_COMMITS

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. Blocks on the disk, so call it in a thread."""
        self._commits = 0
        started = time.monotonic()
        database = sqlite3.connect(self.path)
        try:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            if temporary(error, self.path) is None:
                raise
            # The next one may succeed; until then the write-ahead log grows.
            log.warning("cannot checkpoint %s: %s; trying again", self.path, error)
        finally:
            database.close()
        log.debug("checkpoint of %s took %.3f s", self.path, time.monotonic() - started)

    def close(self) -> None:
        self._database.close()
        self._lock.close()

"""The store: all objects in memory as bytes, every change written to one SQLite file first.

A change is committed before it is visible in memory, to watches or to the client, in the same step
of the event loop: so no client sees a change that a SIGKILL can undo. The write-ahead log is not
synced at every commit (`synchronous=NORMAL`): a killed process loses nothing; a machine that loses
power may lose the last commits, but the file stays consistent.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from ipc.files import open_lock
from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.meta.objects import Entry, Event, Json, Key, make_entry
from modules.apiserver.storage.collection import Collection
from modules.apiserver.storage.revisions import Mark, wall_clock
from modules.apiserver.storage.unusable import UnusableObjects, usable
from modules.common.disk_failures import Trouble, temporary

log = logging.getLogger(__name__)

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
# A checkpoint runs in a thread after this many commits, ...
CHECKPOINT_COMMITS = 2000
# ... or within a commit, if the thread does not keep up (pages of 4 KiB).
CHECKPOINT_PAGES = 20_000
# The file of the write-ahead log is truncated to this size after a checkpoint.
LOG_BYTES = 16 * 1024 * 1024
_MORE = {"ADDED": 1, "MODIFIED": 0, "DELETED": -1}


class StoreError(Exception):
    """The file cannot be used; the message says why and what to do."""


class StoreInUseError(StoreError):
    """Another process holds the lock of the file; it may be about to exit."""


class _Change(NamedTuple):
    storage: str
    event: Event


class Store:
    """The objects of all kinds, and the only writer of their file; used from one thread."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = wall_clock) -> None:
        """Open the file and lock it against a second server; raises StoreError."""
        self.path = path
        self.aside = UnusableObjects(path)
        self.trouble = Trouble(path, "what is stored is served, and writes are refused (507, 503)")
        self._collections: dict[str, Collection] = {}
        self._commits = 0
        self._lock = _lock(path)
        try:
            self._database = _open(path)
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

    def commit(self, changes: Iterable[_Change]) -> None:
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

    def _write(self, changes: list[_Change]) -> None:
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


class Transaction:
    """Changes that are committed together; reads within it see its own writes."""

    def __init__(self, store: Store, *, dry_run: bool) -> None:
        self._store = store
        self._dry_run = dry_run
        self._revision = store.revision
        self._changes: list[_Change] = []
        self._staged: defaultdict[str, dict[Key, Entry | None]] = defaultdict(dict)
        # Objects added minus objects removed, by storage and namespace.
        self._more: Counter[tuple[str, str]] = Counter()

    def get(self, storage: str, key: Key) -> Entry | None:
        staged = self._staged[storage]
        return staged[key] if key in staged else self._store.collection(storage).entries.get(key)

    def count(self, storage: str, namespace: str) -> int:
        """Return how many objects are in a namespace, in constant time."""
        stored = self._store.collection(storage).count(namespace)
        return stored + self._more[storage, namespace]

    def entries(self, storage: str, namespace: str = "") -> Iterator[Entry]:
        """Yield the objects of one namespace, or of all."""
        staged = self._staged[storage]
        for entry in self._store.collection(storage).snapshot(namespace):
            if entry.key not in staged:
                yield entry
        for entry in (entry for entry in list(staged.values()) if entry is not None):
            if not namespace or entry.key[0] == namespace:
                yield entry

    def put(self, resource: Resource, key: Key, obj: Json) -> Entry:
        """Store `obj` under the next revision, and set it as its resourceVersion."""
        previous = self.get(resource.storage, key)
        return self._stage("MODIFIED" if previous else "ADDED", resource, key, obj, previous)

    def remove(self, resource: Resource, key: Key, obj: Json) -> Entry:
        """Remove the object; `obj` is its last state, which is sent to watches."""
        return self._stage("DELETED", resource, key, obj, self.get(resource.storage, key))

    def _stage(
        self, type_: str, resource: Resource, key: Key, obj: Json, previous: Entry | None
    ) -> Entry:
        self._revision += 1
        obj["metadata"]["resourceVersion"] = str(self._revision)
        entry = make_entry(key, self._revision, obj, resource.select(obj))
        self._changes.append(_Change(resource.storage, Event(type_, entry, previous)))
        self._staged[resource.storage][key] = None if type_ == "DELETED" else entry
        self._more[resource.storage, key[0]] += _MORE[type_]
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and not self._dry_run:
            self._store.commit(self._changes)


def _lock(path: Path) -> IO[bytes]:
    lock = open_lock(path.with_name(f"{path.name}.lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StoreInUseError(
            f"{path} is in use by another apiserver: stop that one, or use another --data-dir"
        ) from None
    return lock


def _open(path: Path) -> sqlite3.Connection:
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

"""A transaction: changes of objects that the store commits together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from modules.apiserver.catalog import Resource
from modules.apiserver.meta.objects import Entry, Event, Json, Key, make_entry
from modules.apiserver.storage.collection import Collection

_MORE = {"ADDED": 1, "MODIFIED": 0, "DELETED": -1}


class Change(NamedTuple):
    storage: str
    event: Event


class Committer(Protocol):
    """The store, as a transaction needs it."""

    revision: int

    def collection(self, storage: str) -> Collection:
        """Return the objects that are stored under a storage name."""

    def commit(self, changes: list[Change]) -> None:
        """Write the changes; raises TemporaryFailure if nothing can be written."""


class Transaction:
    """Changes that are committed together; reads within it see its own writes."""

    def __init__(self, store: Committer, *, dry_run: bool) -> None:
        self._store = store
        self._dry_run = dry_run
        self._revision = store.revision
        self._changes: list[Change] = []
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
        self._changes.append(Change(resource.storage, Event(type_, entry, previous)))
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

"""The objects of one kind in memory, indexed by key and by namespace, and sorted."""

from __future__ import annotations

import itertools
from collections import defaultdict

from modules.apiserver.meta.objects import Entry, Key
from modules.apiserver.meta.selectors import Selector
from modules.apiserver.storage.history import History
from modules.apiserver.turns import in_turns


class Collection:
    """The objects of one storage name; only `put` and `remove` change them."""

    def __init__(self, revision: int) -> None:
        self.entries: dict[Key, Entry] = {}
        self.history = History(revision)
        # The same by namespace. Each is sorted when it is read after an addition: to sort a list
        # that is almost sorted takes linear time.
        self._namespaces: defaultdict[str, dict[Key, Entry]] = defaultdict(dict)
        self._unordered: set[str] = set()

    def put(self, entry: Entry) -> None:
        key = entry.key
        if key not in self.entries:
            self._unordered.add(key[0])
        self.entries[key] = self._namespaces[key[0]][key] = entry

    def remove(self, key: Key) -> None:
        del self.entries[key]
        inside = self._namespaces[key[0]]
        del inside[key]
        if not inside:
            del self._namespaces[key[0]]
            self._unordered.discard(key[0])

    def count(self, namespace: str) -> int:
        """Return how many objects are in a namespace, in constant time."""
        return len(self._namespaces.get(namespace, ()))

    def snapshot(self, namespace: str = "") -> list[Entry]:
        """Return the objects sorted by namespace and name; `namespace` "" means all."""
        if namespace:
            return list(self._ordered(namespace).values())
        return [
            entry for name in sorted(self._namespaces) for entry in self._ordered(name).values()
        ]

    def _ordered(self, namespace: str) -> dict[Key, Entry]:
        inside = self._namespaces.get(namespace, {})
        if namespace in self._unordered:
            self._namespaces[namespace] = inside = {key: inside[key] for key in sorted(inside)}
            self._unordered.discard(namespace)
        return inside

    async def select(self, namespace: str, selector: Selector) -> list[Entry]:
        """Return, in turns, the objects that match at the time of the call."""
        entries = self.snapshot(namespace)
        if not selector:
            return entries
        chosen = await in_turns(selector.matches(entry.labels, entry.fields) for entry in entries)
        return list(itertools.compress(entries, chosen))

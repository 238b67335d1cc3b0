"""The ConfigMaps and Secrets of one of several replicas: whole are those that its nodes need.

The watch shows all there are, most of which no pod of a node that is served here refers to. Of
these the store has an outline, which says that they exist and in which version. What comes to be
needed is read whole when a node is to be sent it or a pod that refers to it: most nodes that come
have what they need already. What is needed no more is reduced to its outline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from modules.common.kube import (
    Aside,
    Key,
    KubeError,
    NotFound,
    Object,
    Reflector,
    WatchEvent,
    key_of,
)
from modules.common.sync.keyed_queue import KeyedQueue
from modules.common.sync.sync_form import is_newer
from modules.edgecontroller.objects import Outline, version_of

#: Objects read at a time.
_WORKERS: Final = 8

#: Seconds until an object is looked for again that was deleted before the watch has said so.
_AGAIN: Final = 0.5


class OwnConfiguration(Reflector):
    """A reflector whose store has some objects whole, and an outline of all others."""

    def __init__(
        self,
        *args: Any,
        keep: Callable[[Object], Object],
        is_needed: Callable[[Key], bool],
        on_read: Callable[[Key], None],
        **options: Any,
    ) -> None:
        """Set up; `keep` reduces what is needed, and `on_read` is called when that was read."""

        def keep_some(obj: Object) -> Object:
            outline = Outline.of(obj)
            return keep(obj) if is_needed(key_of(outline)) else outline

        super().__init__(*args, keep=keep_some, **options)
        self._is_needed = is_needed
        self._on_read = on_read
        self._queue: KeyedQueue[Key] = KeyedQueue(self._read_whole, KubeError, self._give_up)

    async def run(self) -> None:
        """List, watch and read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run())
            tasks.create_task(self._queue.run(_WORKERS))

    def want(self, key: Key) -> None:
        """Have a needed object read whole; `on_read` is called then."""
        self._queue.add(key)

    def reduce(self, key: Key) -> None:
        """Reduce an object that no node needs any more."""
        obj = self.store.get(key)
        if obj is not None:
            self.store[key] = Outline.of(obj)

    async def _read_whole(self, key: Key) -> None:
        before = self.store.get(key)
        if isinstance(before, Outline) and self._is_needed(key):
            namespace, name = key
            try:
                found = await self._client.get(self.resource, name, namespace)
            except NotFound:
                self._queue.add_later(key, _AGAIN)  # the watch is about to say so
                return
            if self.store.get(key) is before and self._is_needed(key):
                self._found(key, found)
        self._on_read(key)

    def _found(self, key: Key, found: Object) -> None:
        """Put what was read in the place of its outline; the watch may be behind it."""
        _, kept = self._read(found)
        if isinstance(kept, dict) and version_of(kept) == version_of(self.store[key]):
            self.store[key] = kept  # which is no change of the object
        elif kept is not None:
            self._keep_read(key, kept)

    def _give_up(self, key: Key, error: Exception) -> None:
        """Set an object aside that cannot be read, and go on without it."""
        if key in self.store:
            self._put_aside(key, Aside(self.store[key], error))
        self._on_read(key)

    def _change(self, event: WatchEvent) -> None:
        """Do what an event says, unless what was read has said something later."""
        key, version = _identity(event.object)
        known = self.store.get(key)
        if known is None or not is_newer(version_of(known), version):
            super()._change(event)


def _identity(obj: Any) -> tuple[Key, str]:
    """Return the key and the version of an object; empty ones of one that is malformed."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict):
        return ("", ""), ""
    fields = [metadata.get(field) for field in ("namespace", "name", "resourceVersion")]
    namespace, name, version = (field if isinstance(field, str) else "" for field in fields)
    return (namespace, name), version

"""The objects of one of several replicas: whole are those that its nodes need.

The watch shows all there are, most of which no node that is served here needs. Of these the store
has an outline, which says that they exist and in which version. What comes to be needed is read
whole when a node is to be sent it: most nodes that come have it already. What is needed no more is
reduced to its outline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Self

from modules.common.kube import (
    Aside,
    BadObject,
    Key,
    KubeError,
    NotFound,
    Object,
    Reflector,
    WatchEvent,
    is_newer,
)
from modules.common.sync.keyed_queue import KeyedQueue

#: Objects read at a time.
_WORKERS: Final = 8

#: Seconds until an object is looked for again that was deleted before the watch has said so.
_AGAIN: Final = 0.5

_METADATA: Final = ("namespace", "name", "uid", "resourceVersion")


class Outline(dict[str, Any]):
    """What is kept of an object whose content no node needs: it is to be read before it is sent."""

    __slots__ = ()

    @classmethod
    def of(cls, obj: Any) -> Self:
        """Return the outline of an object; raises BadObject if its metadata is malformed."""
        metadata = obj.get("metadata") if isinstance(obj, dict) else None
        if not isinstance(metadata, dict):
            raise BadObject("metadata", "expected an object")
        kept = {field: metadata[field] for field in _METADATA if field in metadata}
        for field, value in {"name": None, **kept}.items():
            if not isinstance(value, str):
                raise BadObject(f"metadata.{field}", "expected a string")
        return cls(metadata=kept)


class OutlineReflector(Reflector):
    """A reflector whose store has some objects whole, and an outline of all others.

    What was read is never undone by the watch or a list, which may be behind it.
    """

    def __init__(
        self,
        *args: Any,
        outline_of: Callable[[Object], Outline],
        is_needed: Callable[[Key], bool],
        on_read: Callable[[Key], None],
        **options: Any,
    ) -> None:
        """Set up; the `keep` of a Reflector returns outlines of what is not needed.

        `outline_of` reduces what is needed no more, and `on_read` is called when what is needed was
        read, or is gone, or was set aside.
        """
        super().__init__(*args, **options)
        self._outline_of = outline_of
        self._is_needed = is_needed
        self._on_read = on_read
        self._queue: KeyedQueue[Key] = KeyedQueue(self._read_whole, KubeError, self._give_up)
        self._no_list = asyncio.Event()
        """set unless everything is being listed"""
        self._no_list.set()

    async def run(self) -> None:
        """List, watch and read until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(super().run())
                tasks.create_task(self._queue.run(_WORKERS))
        finally:
            self._queue.stop()

    def want(self, key: Key) -> None:
        """Have a needed object read whole; `on_read` is called then."""
        self._queue.add(key)

    def reduce(self, key: Key) -> None:
        """Reduce an object that no node needs any more."""
        obj = self.store.get(key)
        if obj is not None and not isinstance(obj, Outline):
            self.store[key] = self._outline_of(obj)

    def retry_now(self) -> None:
        """Retry all failed reads at once, after an outage of the API."""
        self._queue.retry_now()

    async def _list(self) -> None:
        self._no_list.clear()
        try:
            await super()._list()
        finally:
            self._no_list.set()

    async def _read_whole(self, key: Key) -> None:
        before = self.store.get(key)
        if isinstance(before, Outline) and self._is_needed(key):
            namespace, name = key
            try:
                found = await self._client.get(self.resource, name, namespace)
            except NotFound:
                self._queue.add_later(key, _AGAIN)  # the watch is about to say so
                return
            while not self._no_list.is_set():  # the list may be older, and would undo it
                await self._no_list.wait()
            if self.store.get(key) is before and not self._found(key, found):
                self._queue.add_later(key, _AGAIN)  # here, too
                return
        self._on_read(key)

    def _found(self, key: Key, found: Object) -> bool:
        """Put what was read in the place of its outline; the watch may be behind it.

        Returns whether it is one of those that are kept at all.
        """
        _, kept = self._read(found)
        if kept is None:
            return False
        version = _resource_version(self.store[key])
        if not isinstance(kept, Aside) and _resource_version(kept) == version:
            self.store[key] = kept  # which is no change of the object
        else:
            self._keep_read(key, kept)
        return True

    def _give_up(self, key: Key, error: Exception) -> None:
        """Set an object aside that cannot be read, and go on without it."""
        if key in self.store:
            self._put_aside(key, Aside(self.store[key], error))
        self._on_read(key)

    def _change(self, event: WatchEvent) -> None:
        """Do what an event says, unless what was read has said something later."""
        key, version = _identity(event.object)
        known = self.store.get(key)
        if known is None or not is_newer(_resource_version(known), version):
            super()._change(event)


def _resource_version(obj: Object) -> str:
    return obj["metadata"].get("resourceVersion") or ""


def _identity(obj: Any) -> tuple[Key, str]:
    """Return the key and the version of an object; empty ones of one that is malformed."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict):
        return ("", ""), ""
    fields = [metadata.get(field) for field in ("namespace", "name", "resourceVersion")]
    namespace, name, version = (field if isinstance(field, str) else "" for field in fields)
    return (namespace, name), version

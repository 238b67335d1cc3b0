"""A local copy of what the API server has: list, then watch from there (client-go's reflector).

Memory: a cached object is the dict that JSON makes of it. Measured: 5.1 kB for a plain pod, which
is 3.8 times its JSON, and 1.9 kB for a ConfigMap with 1 kB of data; `keep` cuts it down to what is
used.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from modules.common.kube import metrics
from modules.common.kube.backoff import Backoff
from modules.common.kube.client import KubeClient
from modules.common.kube.errors import ApiError, Gone, KubeError
from modules.common.kube.resources import Resource
from modules.common.kube.watching import Object, WatchEvent

#: (namespace, name); the namespace of cluster-wide objects is empty.
Key = tuple[str, str]

#: Seconds a watch lasts: at random between this and twice this, as client-go does.
_WATCH_SECONDS: Final = 240.0

#: A watch that ends sooner than this, in seconds, counts as a failure and is followed by a pause.
_SHORT_WATCH: Final = 1.0

log = logging.getLogger(__name__)


@dataclass
class ReflectorStatistics:
    """Counts since the start, for metrics."""

    lists: int = 0
    relists_gone: int = 0
    watches: int = 0
    events: int = 0
    bookmarks: int = 0
    errors: int = 0


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Reflector:
    """Keeps `store` equal to the API server's objects and tells `on_event` of each change.

    `on_event` is called after the store has changed, for objects in the order of their changes.
    What changed while no watch was open is found by listing again, and told as the difference
    to the store: so a deletion is never missed, but changes in between are told as one. An
    object that was replaced by another of its name is told as DELETED and ADDED.

    `keep` reduces an object before it is stored and told, or drops it with None; an object that
    it no longer keeps is told as DELETED.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        on_event: Callable[[WatchEvent], None] | None = None,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        keep: Callable[[Object], Object | None] | None = None,
        resync: float = 0.0,
        store: dict[Key, Object] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Set up; `resync` is the time in seconds after which to list anew anyhow, 0 for never.

        `store` is an empty dict to use, for who has to know it before the reflector is made.
        """
        self.resource = resource
        self.store: dict[Key, Object] = {} if store is None else store
        self.statistics = ReflectorStatistics()
        self._client = client
        self._on_event = on_event or (lambda _: None)
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._keep = keep or (lambda obj: obj)
        self._resync = resync
        self._backoff = backoff or Backoff()
        self._labels = client.module, resource.plural
        self._version = ""
        self._listed_at = 0.0
        self._synced = asyncio.Event()
        self._failing_since: float | None = None
        self.error: KubeError | None = None
        """What the API server has answered last, while it gives nothing."""

    @property
    def is_synced(self) -> bool:
        """Whether the store has held a whole list at least once."""
        return self._synced.is_set()

    @property
    def failing_for(self) -> float:
        """Seconds since the API server last answered; 0 while all is well."""
        return 0.0 if self._failing_since is None else time.monotonic() - self._failing_since

    async def synced(self) -> None:
        """Wait until the store holds a whole list."""
        await self._synced.wait()

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self.store.get((namespace, name))

    async def run(self) -> None:
        """List and watch until cancelled; errors of the API are logged, counted and outlasted."""
        while True:
            try:
                if not self._version or self._resync_due():
                    await self._list()
                await self._watch()
            except Gone as error:
                self._version = ""
                self.statistics.relists_gone += 1
                await self._pause(error)
            except KubeError as error:
                if _ahead_of_server(error):
                    self._version = ""
                await self._pause(error)

    def measure(self) -> None:
        """Bring the metric of the cache's size up to date."""
        metrics.CACHED_OBJECTS.labels(*self._labels).set(len(self.store))

    async def _list(self) -> None:
        listed: dict[Key, Object] = {}
        version = ""
        pages = self._client.pages(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        async with aclosing(pages):
            async for page in pages:
                version = page.resource_version
                kept = [obj for obj in map(self._keep, page.items) if obj is not None]
                listed.update((key_of(obj), obj) for obj in kept)
        if self.statistics.lists:
            metrics.RELISTS.labels(*self._labels).inc()
        self.statistics.lists += 1
        self._recovered()
        self._listed_at = time.monotonic()
        for key in self.store.keys() - listed.keys():
            self._remove(key)
        for key, obj in listed.items():
            self._put(key, obj)
        self._version = version
        self._synced.set()

    async def _watch(self) -> None:
        began = time.monotonic()
        if self.statistics.watches:
            metrics.WATCH_RESTARTS.labels(*self._labels).inc()
        self.statistics.watches += 1
        await self._client.follow(
            self.resource,
            self._namespace,
            self._apply,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout=self._watch_seconds(),
            on_open=self._recovered,
        )
        if time.monotonic() - began < _SHORT_WATCH:
            await asyncio.sleep(self._backoff.next())

    def _apply(self, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            self.statistics.bookmarks += 1
        else:
            self.statistics.events += 1
            key = key_of(event.object)
            kept = self._keep(event.object)
            if event.type == "DELETED" or kept is None:
                self._remove(key, kept)
            else:
                self._put(key, kept)
        self._version = event.resource_version

    def _put(self, key: Key, obj: Object) -> None:
        old = self.store.get(key)
        if old is None:
            self.store[key] = obj
            self._on_event(WatchEvent("ADDED", obj))
        elif old["metadata"].get("uid") != obj["metadata"].get("uid"):
            self._remove(key)
            self._put(key, obj)
        elif old["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
            self.store[key] = obj
            self._on_event(WatchEvent("MODIFIED", obj, old))

    def _remove(self, key: Key, last: Object | None = None) -> None:
        """Remove; `last` is the object's final state where the server has told it."""
        old = self.store.pop(key, None)
        if old is not None:
            self._on_event(WatchEvent("DELETED", last or old, old))

    def _watch_seconds(self) -> float:
        seconds = _WATCH_SECONDS * random.uniform(1.0, 2.0)  # noqa: S311 - spreading the load
        if not self._resync:
            return seconds
        return max(1.0, min(seconds, self._listed_at + self._resync - time.monotonic()))

    def _resync_due(self) -> bool:
        return self._resync > 0 and time.monotonic() - self._listed_at >= self._resync

    async def _pause(self, error: KubeError) -> None:
        """Log the first failure of a row, count each, and wait."""
        self.statistics.errors += 1
        self.error = error
        pause = self._backoff.next(error.retry_after if isinstance(error, ApiError) else None)
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            # That the API server has forgotten where a watch was is routine, not a fault.
            level = logging.INFO if isinstance(error, Gone) else logging.WARNING
            log.log(level, f"{error}; trying again until it works")
        else:
            log.debug(f"{error}; trying again in {pause:.1f} s")
        await asyncio.sleep(pause)

    def _recovered(self) -> None:
        self._backoff.reset()
        self.error = None
        if self._failing_since is not None:
            log.info(f"watching {self.resource.plural} again after {self.failing_for:.1f} s")
            self._failing_since = None


def _ahead_of_server(error: KubeError) -> bool:
    """Whether the server knows less than was seen before: it was restored from a backup."""
    causes = error.details.get("causes") if isinstance(error, ApiError) else None
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes or [])

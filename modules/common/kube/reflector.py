"""A reflector: a local copy of objects of the API server, by list and watch (client-go).

Memory: a cached object is its decoded JSON. Measured: 5.1 kB for a plain pod, 3.8 times its JSON,
and 1.9 kB for a ConfigMap with 1 kB of data; `keep` reduces objects to the fields that are used.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from modules.common.kube import metrics
from modules.common.kube.aside import SetAside, Subject
from modules.common.kube.backoff import Backoff
from modules.common.kube.client import KubeClient
from modules.common.kube.errors import ApiError, Gone, KubeError
from modules.common.kube.events import reference
from modules.common.kube.kinds import Resource
from modules.common.kube.responses import Page
from modules.common.kube.watching import Object, WatchEvent

#: (namespace, name); the namespace of cluster-wide objects is empty.
Key = tuple[str, str]

#: A watch lasts a random time between this many seconds and twice as many, as in client-go.
_WATCH_SECONDS: Final = 240.0

#: A watch that ends sooner than this, in seconds, counts as a failure and is followed by a pause.
_SHORT_WATCH: Final = 1.0

log = logging.getLogger(__name__)


@dataclass
class ReflectorStatistics:
    """Counters since the start, for metrics."""

    lists: int = 0
    relists_gone: int = 0
    watches: int = 0
    events: int = 0
    bookmarks: int = 0
    errors: int = 0


class Aside(NamedTuple):
    """An object of the server that cannot be used, and the exception."""

    object: Any
    error: Exception


def key_of(obj: Object) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Reflector:
    """Keeps `store` in sync with the API server, and calls `on_event` with each change.

    `on_event` is called after the store has changed, for objects in the order of their changes.
    Changes while no watch was open are found by a relist, as differences from the store: no
    deletion is missed, but several changes of an object are one event. An object that was
    replaced by another one of the same name is DELETED and ADDED.

    `keep` reduces an object before it is stored, or drops it by returning None; an object that is
    dropped after a change is DELETED.

    With `set_aside`, an object for which `keep` or `on_event` raises is set aside: it is in
    `aside`, and the store keeps its last usable state, if there was one, until it is usable again
    or gone. `on_aside` is called with its key after each of these changes, and after `on_event`.
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
        store: MutableMapping[Key, Object] | None = None,
        backoff: Backoff | None = None,
        explain: Callable[[Resource, KubeError], Awaitable[KubeError]] | None = None,
        set_aside: SetAside | None = None,
        on_aside: Callable[[Key], None] | None = None,
    ) -> None:
        """Set up; `resync` is the time in seconds between unconditional relists, 0 for never.

        `store` is an empty dict, for callers that need it before the reflector exists, or a mapping
        that needs less memory, whose type can be called for another empty one. `explain`
        turns a failure into one that tells an operator more, before the next attempt.
        """
        self.resource = resource
        self.store: MutableMapping[Key, Object] = {} if store is None else store
        self.aside: dict[Key, Aside] = {}
        self.statistics = ReflectorStatistics()
        self._set_aside = set_aside
        self._on_aside = on_aside or (lambda _: None)
        self._client = client
        self._on_event = on_event or (lambda _: None)
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._keep = keep or (lambda obj: obj)
        self._resync = resync
        self._backoff = backoff or Backoff(least=0.1)
        self._explain = explain
        self._labels = client.module, resource.plural
        self._version = ""
        self._listed_at = 0.0
        self._opened_at = math.inf
        self._was_short = False
        """whether the last watch that was accepted was broken off at once"""
        self._synced = asyncio.Event()

    @property
    def is_synced(self) -> bool:
        """Whether the first list is complete."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait until the first list is complete."""
        await self._synced.wait()

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self.store.get((namespace, name))

    async def run(self) -> None:
        """List and watch until cancelled; errors of the API are counted and retried.

        The client's health logs them, once for all watches that they ended.
        """
        while True:
            try:
                if not self._version or self._resync_due():
                    await self._list()
                await self._watch()
            except Gone as error:
                # An expired version of a watch is routine, not a fault.
                self._version = ""
                self.statistics.relists_gone += 1
                self.statistics.errors += 1
                log.debug("%s; relisting", error)
                await asyncio.sleep(self._backoff.next())
            except KubeError as error:
                if _ahead_of_server(error):
                    self._version = ""
                await self._pause(error)

    def measure(self) -> None:
        """Update the metric of the number of cached objects."""
        metrics.CACHED_OBJECTS.labels(*self._labels).set(len(self.store))

    async def _list(self) -> None:
        listed = type(self.store)()
        aside: dict[Key, Aside] = {}
        version = ""
        pages = self._pages()
        async with aclosing(pages):
            async for page in pages:
                version = page.resource_version
                for obj in page.items:
                    key, kept = self._read(obj)
                    if isinstance(kept, Aside):
                        aside[key] = kept
                    elif kept is not None:
                        listed[key] = kept
        if self.statistics.lists:
            metrics.RELISTS.labels(*self._labels).inc()
        self.statistics.lists += 1
        self._listed_at = time.monotonic()
        for key in (self.store.keys() | self.aside.keys()) - listed.keys() - aside.keys():
            self._remove(key)
        for key, each in aside.items():
            self._keep_read(key, each)
        for key, obj in listed.items():
            self._keep_read(key, obj)
        self._version = version
        self._synced.set()

    def _pages(self) -> AsyncGenerator[Page]:
        """Return the pages of everything."""
        return self._client.pages(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )

    async def _watch(self) -> None:
        if self.statistics.watches:
            metrics.WATCH_RESTARTS.labels(*self._labels).inc()
        self.statistics.watches += 1
        self._opened_at = math.inf
        try:
            await self._client.follow(
                self.resource,
                self._namespace,
                self._apply,
                resource_version=self._version,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                timeout=self._watch_seconds(),
                on_open=self._opened,
            )
        finally:
            is_short = time.monotonic() - self._opened_at < _SHORT_WATCH
            if self._opened_at < math.inf:
                self._was_short = is_short
            if not is_short:
                self._backoff.reset()
        if is_short:
            await self._client.health.pause(self._backoff.next())

    def _apply(self, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            self.statistics.bookmarks += 1
        else:
            self.statistics.events += 1
            self._change(event)
        self._version = event.resource_version or self._version

    def _change(self, event: WatchEvent) -> None:
        """Do to the store what an event of the watch says."""
        key, kept = self._read(event.object)
        if event.type == "DELETED" or kept is None:
            self._remove(key, None if isinstance(kept, Aside) else kept)
        else:
            self._keep_read(key, kept)

    def _keep_read(self, key: Key, kept: Object | Aside) -> None:
        if isinstance(kept, Aside):
            self._put_aside(key, kept)
        else:
            self._put(key, kept)

    def _read(self, obj: Any) -> tuple[Key, Object | Aside | None]:
        """Return the reduced object, or an `Aside` if it cannot be used."""
        try:
            kept = self._keep(obj)
            return key_of(obj), kept
        except Exception as error:
            if self._set_aside is None:
                raise
            known = reference(self.resource, obj)
            return (known.get("namespace", ""), known.get("name", "")), Aside(obj, error)

    def _put(self, key: Key, obj: Object) -> None:
        was_aside = self.aside.get(key)
        old = self.store.get(key)
        if old is None:
            self.store[key] = obj
            self._emit(key, WatchEvent("ADDED", obj))
        elif old["metadata"].get("uid") != obj["metadata"].get("uid"):
            self._remove(key)
            self._put(key, obj)
        elif old["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
            self.store[key] = obj
            self._emit(key, WatchEvent("MODIFIED", obj, old))
        if was_aside and self.aside.get(key) is was_aside:
            del self.aside[key]
            self._no_longer_aside(key, was_aside, used=True)

    def _remove(self, key: Key, last: Object | None = None) -> None:
        """Remove an object; `last` is its final state, if the server sent it."""
        old = self.store.pop(key, None)
        was_aside = self.aside.pop(key, None)
        if old is not None:
            self._emit(key, WatchEvent("DELETED", last or old, old))
        if was_aside := self.aside.pop(key, was_aside):
            self._no_longer_aside(key, was_aside, used=False)

    def _emit(self, key: Key, event: WatchEvent) -> None:
        try:
            self._on_event(event)
        except Exception as error:
            if self._set_aside is None:
                raise
            self._put_aside(key, Aside(event.object, error))

    def _put_aside(self, key: Key, aside: Aside) -> None:
        old, subject = self.store.get(key), Subject.of(self.resource, aside.object)
        uid = (subject.involved or {}).get("uid")
        if old is not None and uid and uid != old["metadata"].get("uid"):
            self._remove(key)
        self.aside[key] = aside
        if self._set_aside:
            self._set_aside.put(subject, aside.error)
        self._aside_changed(key, subject)

    def _no_longer_aside(self, key: Key, aside: Aside, *, used: bool) -> None:
        subject = Subject.of(self.resource, aside.object)
        if self._set_aside:
            self._set_aside.end(subject, used=used)
        self._aside_changed(key, subject)

    def _aside_changed(self, key: Key, subject: Subject) -> None:
        if self._set_aside:
            with self._set_aside.isolating(subject):
                self._on_aside(key)

    def _watch_seconds(self) -> float:
        seconds = _WATCH_SECONDS * random.uniform(1.0, 2.0)  # noqa: S311 - spreading the load
        if not self._resync:
            return seconds
        return max(1.0, min(seconds, self._listed_at + self._resync - time.monotonic()))

    def _resync_due(self) -> bool:
        return self._resync > 0 and time.monotonic() - self._listed_at >= self._resync

    async def _pause(self, error: KubeError) -> None:
        """Count a failure, and wait until the retry is due."""
        self.statistics.errors += 1
        if self._explain:
            error = await self._explain(self.resource, error)
        health = self._client.health
        health.failed(self.resource.plural, error)
        pause = self._backoff.next()
        asked = error.retry_after if isinstance(error, ApiError) else None
        log.debug("%s; trying again in %.1f s", error, max(pause, asked or 0.0))
        await health.pause(pause, at_least=asked or 0.0)

    def _opened(self) -> None:
        """Record that the watch is served; a list alone does not show that.

        One that is accepted and broken off again and again does not, either: everything would be
        listed anew ten times a second.
        """
        self._opened_at = time.monotonic()
        if not self._was_short:
            self._backoff.reset()
        self._client.health.served(self.resource.plural)


def _ahead_of_server(error: KubeError) -> bool:
    """Whether the server is behind the version seen before: it was restored from a backup."""
    causes = error.details.get("causes") if isinstance(error, ApiError) else None
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes or [])

"""The pods of one of several replicas: those alone of the nodes that it serves.

One watch shows the pods of all nodes, and what it shows of others is dropped. A node that comes has
its pods listed. The list and the watch are put together by resourceVersions, so that the store is
never anything but what the API had at some time, and never goes back:

- From before the list is asked for until it has come, events of the node are held back, the latest
  of each pod. Those that are later than the list are handled after it.
- The list is the API server's latest (no resourceVersion in the request), so it is not older than
  what another replica has sent the node. One that is older than the watch, which a broken server
  might send, is asked for again.
- Later events that are not later than the list say what the list has said already.
- While nothing is kept, as at the start, nothing is listed: the watch begins at the API's version.
- While everything is listed anew, no node begins, and no list of a node is taken: that list has
  its pods, too.

Edges of v1.1 are sent the pods behind each service, wherever they run: everything is kept while
there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from typing import Any, Final, NamedTuple

from modules.common.kube import (
    Aside,
    Key,
    Object,
    Page,
    Reflector,
    Unreachable,
    WatchEvent,
    is_newer,
    number_of,
)
from modules.edgecontroller.objects import version_of

#: Seconds for which a message of a node waits for the node's pods.
_PATIENCE: Final = 2.0


class _Seen(NamedTuple):
    """What tells whose an object is, and how new."""

    node: str
    key: Key
    version: str


class _Share:
    """The pods of one node: complete as of `version`; until then events are held back."""

    def __init__(self, since: str) -> None:
        """Begin where the watch is."""
        self.since = since
        self.version = ""
        self.complete = asyncio.Event()
        self.held: dict[Key, WatchEvent] = {}

    def completed(self, version: str) -> None:
        self.version = version
        self.complete.set()


class OwnPods(Reflector):
    """A reflector whose store has the pods of some nodes: of those that were loaded."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shares: dict[str, _Share] = {}
        #: Nodes for which everything is kept.
        self._of_v1_1: set[str] = set()
        self._everything = asyncio.Event()
        """set when everything is there"""
        self._no_list = asyncio.Event()
        """set unless everything is being listed"""
        self._no_list.set()
        self._list_now = asyncio.Event()
        self._any_completed = asyncio.Event()

    async def load(self, node: str, *, is_of_v1_1: bool) -> None:
        """Have a node's pods in the store from now on; raises the KubeErrors of their list."""
        if is_of_v1_1:
            self._ask_for_everything(node)
        elif node in self._of_v1_1:
            self._of_v1_1.discard(node)
            self._drop_others()
        await self._load_share(node)
        if is_of_v1_1:
            await self._everything.wait()

    def forget(self, nodes: Iterable[str]) -> None:
        """Drop the pods of nodes."""
        for node in nodes:
            self._shares.pop(node, None)
            self._of_v1_1.discard(node)
        self._drop_others()

    async def known(self, node: str) -> None:
        """Wait until a node's pods are there; raises Unreachable if that takes long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while not self._is_complete(node):
                    await self._any_completed.wait()
                return
        raise Unreachable(f"node {node}: its pods have not been read yet")

    # What Reflector calls

    async def _list(self) -> None:
        self._no_list.clear()
        self._list_now.clear()
        try:
            await super()._list()
            for share in self._shares.values():
                share.held.clear()
                self._completed(share, self._version)
            if self._of_v1_1 and not self._list_now.is_set():
                self._everything.set()
        finally:
            self._no_list.set()

    def _pages(self) -> AsyncGenerator[Page]:
        return super()._pages() if self._shares or self._of_v1_1 else self._version_alone()

    async def _version_alone(self) -> AsyncGenerator[Page]:
        """Yield an empty page with the API's version: while nothing is kept, nothing is read."""
        pages = self._client.pages(self.resource, self._namespace, page_size=1)
        async with aclosing(pages):
            page = await anext(pages)
        yield Page([], page.resource_version)

    async def _watch(self) -> None:
        """Watch until the watch ends, or everything is to be listed now."""
        watching = asyncio.create_task(super()._watch())
        interrupted = asyncio.create_task(self._list_now.wait())
        try:
            await asyncio.wait((watching, interrupted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
            watching.cancel()
            await asyncio.wait((interrupted, watching))
        if not watching.cancelled():
            watching.result()
        if self._list_now.is_set():
            self._version = ""

    def _read(self, obj: Any) -> tuple[Key, Object | Aside | None]:
        seen = _seen(obj)
        if seen and not self._keeps(seen.node):
            return seen.key, None
        return super()._read(obj)

    def _keep_read(self, key: Key, kept: Object | Aside) -> None:
        seen = _seen(kept.object if isinstance(kept, Aside) else kept)
        if seen is None or self._keeps(seen.node):  # it may have been forgotten since it was read
            super()._keep_read(key, kept)

    def _change(self, event: WatchEvent) -> None:
        seen = _seen(event.object)
        if seen is None:
            super()._change(event)  # which sets it aside
        elif not self._says_nothing_new(event, seen):
            share = self._shares.get(seen.node)
            if self._everything.is_set() or (share and share.complete.is_set()):
                super()._change(event)
                return
            self._remove(seen.key)  # a former pod of that name, of another node
            if share:
                share.held[seen.key] = event

    # Nodes that come and go

    async def _load_share(self, node: str) -> None:
        while not self._no_list.is_set():
            await self._no_list.wait()
        if self._is_complete(node):
            return
        share = self._shares[node] = _Share(self._version)
        try:
            if self._everything.is_set():
                self._completed(share, self._version)
            elif self._version and not self._list_now.is_set():
                await self._list_share(node, share)
            await share.complete.wait()  # by the list of everything that is about to come
        finally:
            if not share.complete.is_set() and self._shares.get(node) is share:
                del self._shares[node]

    async def _list_share(self, node: str, share: _Share) -> None:
        pages = self._client.pages(
            self.resource,
            self._namespace,
            field_selector=f"spec.nodeName={node}",
            page_size=0,  # API servers answer from their memory, by an index, only without pages
        )
        async with aclosing(pages):
            found = await anext(pages)
        while not self._no_list.is_set():
            await self._no_list.wait()
        if share.complete.is_set():
            return
        if self._shares.get(node) is not share:
            raise Unreachable(f"node {node}: it has come anew while its pods were read")
        if is_newer(share.since, found.resource_version):
            raise Unreachable(f"node {node}: the list of its pods is older than the watch")
        for obj in found.items:
            self._take(node, obj)
        self._completed(share, found.resource_version)
        for event in share.held.values():
            self._change(event)
        share.held.clear()

    def _take(self, node: str, obj: Any) -> None:
        seen = _seen(obj)
        if seen is None or (seen.node == node and is_newer(seen.version, self._known(seen.key))):
            key, kept = self._read(obj)
            if kept is not None:
                self._keep_read(key, kept)

    def _completed(self, share: _Share, version: str) -> None:
        share.completed(version)
        self._any_completed.set()
        self._any_completed = asyncio.Event()

    def _ask_for_everything(self, node: str) -> None:
        if not self._of_v1_1:
            self._list_now.set()
        self._of_v1_1.add(node)

    def _drop_others(self) -> None:
        if not self._of_v1_1:
            self._everything.clear()
        for objects in (self.store, {key: aside.object for key, aside in self.aside.items()}):
            for key, obj in list(objects.items()):
                seen = _seen(obj)
                if seen and not self._keeps(seen.node):
                    self._remove(key)

    def _is_complete(self, node: str) -> bool:
        share = self._shares.get(node)
        return share is not None and share.complete.is_set()

    def _keeps(self, node: str) -> bool:
        return bool(self._of_v1_1) or node in self._shares

    # What is new

    def _says_nothing_new(self, event: WatchEvent, seen: _Seen) -> bool:
        """Whether the store has had a later state of a pod, by a list that was ahead of the watch.

        The API's last word about a pod has a version of its own; a server that repeats that of the
        pod's last state there means that state, too.
        """
        known = self._known(seen.key)
        if event.type == "DELETED" and known:
            return is_newer(known, seen.version)
        share = self._shares.get(seen.node)
        return not is_newer(seen.version, known or (share.version if share else ""))

    def _known(self, key: Key) -> str:
        """Return the version of a pod that is kept, or set aside; empty if there is none."""
        if aside := self.aside.get(key):
            seen = _seen(aside.object)
            return seen.version if seen else ""
        obj = self.store.get(key)
        return version_of(obj) if obj else ""


def _seen(obj: Any) -> _Seen | None:
    """Return whose an object is; None if it is too malformed to tell."""
    metadata, spec = _part(obj, "metadata"), _part(obj, "spec")
    node, version = spec.get("nodeName"), metadata.get("resourceVersion")
    namespace, name = metadata.get("namespace"), metadata.get("name")
    if not (isinstance(node, str) and isinstance(namespace, str) and isinstance(name, str)):
        return None
    if not isinstance(version, str) or not number_of(version):
        return None
    return _Seen(node, (namespace, name), version)


def _part(obj: Any, section: str) -> Object:
    part = obj.get(section) if isinstance(obj, dict) else None
    return part if isinstance(part, dict) else {}

"""ObjectSyncs that several replicas write: which of them holds a node changes at any moment.

Nobody but the API can say what an edge has, so its record is never stronger than the truth:

- What makes a row weaker (a new row; a version that is not sure any more, as a deletion is about to
  be sent) is in the API before the message goes to the edge.
- What makes it stronger (an acknowledgement) is written afterwards, on the condition that nobody
  has written the ObjectSync since. If somebody has, the row is not sure any more, and the object is
  sent again: only the answer to a message that is sent from now on shows that the edge is here.
- Whoever takes a node over reads its rows first, and writes those anew that have no version: what
  the former holder may still write about them fails.

tests/modules/common/replicas/ has the model.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from typing import Final

from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    OBJECTSYNCS,
    AlreadyExists,
    Conflict,
    KubeClient,
    NotFound,
    Object,
    Resource,
)
from modules.common.sync.journal import Item, Row
from modules.common.sync.object_syncs import UNSEEN, ObjectSyncs, SyncKey, seen_of
from modules.common.sync.record import DENIED, Record

#: The label with the node, so that the rows of one node can be listed, and the limit of its value.
NODE_LABEL: Final = "cloudcore.kubeedge.io/node"
_LABEL_ROOM: Final = 63

#: Says when a row without a version was written anew.
_TAKEN: Final = "cloudcore.kubeedge.io/taken"

#: Seconds for which a message waits for its row to be written.
_PATIENCE: Final = 5.0

#: The versions of a row that says no more than that the node may have the object.
_WEAK: Final = ("", UNSEEN)


class FencedObjectSyncs(ObjectSyncs):
    """The record in the API of the nodes that this replica holds."""

    def __init__(
        self,
        client: KubeClient,
        record: Record,
        kinds: Mapping[str, Resource],
        versions_count: Callable[[str], bool],
        on_foreign: Callable[[str, Item], None],
    ) -> None:
        """Set up; `versions_count` says of which nodes acknowledged versions are kept.

        `on_foreign` gets a node and an item whose row another replica has written.
        """
        super().__init__(client, record, kinds, lambda _: True)
        self._versions_count = versions_count
        self._on_foreign = on_foreign
        self._revisions: dict[SyncKey, str] = {}
        """the resourceVersion of each ObjectSync as it was written or read here"""
        self._awaited: dict[SyncKey, asyncio.Future[None]] = {}

    def changed(self, node: str, item: Item, before: Row | None, after: Row | None) -> None:
        before, after = _kept(before), _kept(after)
        if after and after.seen and not self._versions_count(node):
            after = after._replace(seen="")
        super().changed(node, item, before, after)

    async def label_all(self, namespace: str | None) -> None:
        """Label what was written before there were replicas; raises a KubeError."""
        for resource, of_namespace in _places(namespace):
            pages = self._client.pages(resource, of_namespace, label_selector=f"!{NODE_LABEL}")
            async for page in pages:
                for obj in page.items:
                    metadata = obj["metadata"]
                    node = metadata["name"].rpartition(".")[0]
                    patch = {"metadata": {"labels": {NODE_LABEL: label_of(node)}}}
                    try:
                        await self._client.patch(
                            resource, metadata["name"], patch, metadata.get("namespace")
                        )
                    except NotFound:
                        continue

    async def load_node(self, node: str, namespace: str | None) -> None:
        """Read what a node has, before anything is sent to it; raises a KubeError."""
        record = self._record
        found: defaultdict[Item, dict[str, Row]] = defaultdict(dict)
        keys: set[SyncKey] = set()
        for resource, of_namespace in _places(namespace):
            selector = f"{NODE_LABEL}={label_of(node)}"
            async for page in self._client.pages(resource, of_namespace, label_selector=selector):
                for obj in page.items:
                    read = self._parse(obj)
                    if read and _node_of(read[0]) == node:
                        key, item, _ = read
                        row = await self._take(obj, *read, record.row(node, item))
                        found[item][row.uid] = row
                        keys.add(key)
        self._forget_others(node, keys)
        rows = {}
        for item, by_uid in found.items():
            before = record.row(node, item)
            row = (before and by_uid.get(before.uid)) or next(iter(by_uid.values()))
            rows[item] = row
            for other in by_uid.keys() - {row.uid}:
                self._want(self._key(node, item, other), None)
        record.replace_rows(node, rows, self._kinds)

    async def weaken(self, rows: Iterable[tuple[str, Item]]) -> set[str]:
        """Write what has to be written before messages about these rows are sent.

        Returns the nodes for which that has not worked in time.
        """
        awaited: dict[asyncio.Future[None], str] = {}
        for node, item in rows:
            row = _kept(self._record.row(node, item))
            if row is None or item[0] not in self._kinds:
                continue
            key = self._key(node, item, row.uid)
            written = self._written.get(key)
            if written is None or (not row.seen and written not in _WEAK):
                future = self._awaited.setdefault(key, asyncio.Future())
                awaited[future] = node
                self.changed(node, item, None, row)
                self._queue.add(key)
        if not awaited:
            return set()
        _, late = await asyncio.wait(awaited, timeout=_PATIENCE)
        return {awaited[future] for future in late}

    async def _write(self, key: SyncKey) -> None:
        future = self._awaited.get(key)
        await super()._write(key)
        if future and self._awaited.get(key) is future:
            del self._awaited[key]
            future.set_result(None)

    async def _bring_to(self, key: SyncKey, item: Item, version: str) -> None:
        if key not in self._written:
            await self._create(key, item)
        if self._written[key] == version or {self._written[key], version} <= set(_WEAK):
            return
        patch = {
            "metadata": {"resourceVersion": self._revisions[key]},
            "status": {"objectResourceVersion": version},
        }
        try:
            written = await self._client.patch(
                key.resource, key.name, patch, key.namespace or None, subresource="status"
            )
        except NotFound:
            self._drop(key)
            if version in _WEAK:
                await self._create(key, item)
        except Conflict:
            await self._read_foreign(key, item)
        else:
            self._written[key] = version
            self._revisions[key] = written["metadata"]["resourceVersion"]

    async def _create(self, key: SyncKey, item: Item) -> None:
        obj = self._made(key, item)
        obj["metadata"]["labels"] = {NODE_LABEL: label_of(_node_of(key))}
        try:
            made = await self._client.create(key.resource, obj, key.namespace or None)
        except AlreadyExists:
            await self._read_foreign(key, item)
        else:
            self._written[key] = ""
            self._revisions[key] = made["metadata"]["resourceVersion"]
            self._record.note_second(_node_of(key), item, key.name.rpartition(".")[2])

    async def _delete(self, key: SyncKey) -> None:
        if key not in self._written:
            return
        # After a conflict there is a row too many: it costs a deletion at the next takeover.
        with suppress(NotFound, Conflict):
            await self._client.delete(
                key.resource, key.name, key.namespace or None, version=self._revisions[key]
            )
        self._drop(key)

    async def _read_foreign(self, key: SyncKey, item: Item) -> None:
        """Take note of a row that another replica has written."""
        try:
            obj = await self._client.get(key.resource, key.name, key.namespace or None)
        except NotFound:
            self._drop(key)
            return
        read = self._parse(obj)
        self._written[key] = read[2] if read else ""
        self._revisions[key] = obj["metadata"]["resourceVersion"]
        self._on_foreign(_node_of(key), item)

    async def _take(
        self, obj: Object, key: SyncKey, item: Item, version: str, before: Row | None
    ) -> Row:
        """Return the row that an ObjectSync says; one without a version is written anew.

        If nobody has written it since this replica did, the row that is known says more.
        """
        uid = key.name.rpartition(".")[2]
        revision = obj["metadata"]["resourceVersion"]
        is_known = self._revisions.get(key) == revision
        self._written[key] = version
        if version in _WEAK:
            patch = {"metadata": {"annotations": {_TAKEN: str(time.time_ns())}}}
            taken = await self._client.patch(key.resource, key.name, patch, key.namespace or None)
            revision = taken["metadata"]["resourceVersion"]
        self._revisions[key] = revision
        if is_known and version not in _WEAK and before and before.uid == uid:
            return before
        self._wanted.pop(key, None)
        seen = "" if version in _WEAK else seen_of(item, version)
        return Row(uid, seen, in_second=True)

    def _forget_others(self, node: str, found: Container[SyncKey]) -> None:
        """Forget the ObjectSyncs of a node that are there no more."""
        for key in [key for key in self._written if _node_of(key) == node]:
            if key not in found:
                self._drop(key)
                self._wanted.pop(key, None)

    def _drop(self, key: SyncKey) -> None:
        self._written.pop(key, None)
        self._revisions.pop(key, None)


def label_of(node: str) -> str:
    """Return the label's value for a node, whose name may be longer than a label."""
    if len(node) <= _LABEL_ROOM:
        return node
    return hashlib.sha256(node.encode()).hexdigest()[:_LABEL_ROOM]


def _kept(row: Row | None) -> Row | None:
    """Return a row if it is about an object that exists or has existed."""
    return None if row is None or row.uid == DENIED else row


def _node_of(key: SyncKey) -> str:
    return key.name.rpartition(".")[0]


def _places(namespace: str | None) -> tuple[tuple[Resource, str | None], ...]:
    return ((OBJECTSYNCS, namespace), (CLUSTEROBJECTSYNCS, None))

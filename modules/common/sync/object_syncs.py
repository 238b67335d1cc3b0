"""The record in the Kubernetes API: an ObjectSync for each object that a node may have.

They are those of Go's cloud (cloud/pkg/cloudhub/session/node_session.go): one in the namespace of
the object, or a ClusterObjectSync, named `NODE.UID`; the spec names the object, the status has the
resourceVersion that the node has acknowledged. So either cloud can take over from the other.

They are written in the background, some time after the file of the record, and at most once a
second each, in their newest state. What was not written when the process ended is found by the
comparison at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from modules.common.failure_log import FailureLog
from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    OBJECTSYNCS,
    AlreadyExists,
    KubeClient,
    KubeError,
    NotFound,
    Object,
    Resource,
    is_newer,
)
from modules.common.sync.journal import Item, Row
from modules.common.sync.keyed_queue import KeyedQueue
from modules.common.sync.record import Record
from modules.common.sync.sync_form import (
    NO_NAMESPACE,
    UNSEEN,
    SyncKey,
    name_of,
    read_sync,
    seen_of,
    version_of,
)

#: Seconds in which the changes of one object are written together.
_PAUSE: Final = 1.0

#: Writes at a time; no more of the API client's rate limit is taken at once.
_WORKERS: Final = 4

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """What an ObjectSync is to have."""

    item: Item
    version: str
    payload: Any = None
    """for who goes on from it; Go's form has no place for it"""


class ObjectSyncs:
    """Writes the changes of a record to the API."""

    def __init__(
        self,
        client: KubeClient,
        record: Record,
        kinds: Mapping[str, Resource],
        keeps: Callable[[str], bool],
    ) -> None:
        """Set up; `kinds` are the kinds of the rows kept, by type, `keeps` says for which nodes."""
        self._client = client
        self._record = record
        self._kinds = kinds
        self._types = {(each.api_version, each.kind): type_ for type_, each in kinds.items()}
        self._keeps = keeps
        #: The version of the API's state when they were listed.
        self._listed = ""
        #: The version in each ObjectSync that exists.
        self._written: dict[SyncKey, str] = {}
        #: Those that differ; None: it is not to exist.
        self._wanted: dict[SyncKey, Wanted | None] = {}
        self._queue: KeyedQueue[SyncKey] = KeyedQueue(self._write, KubeError, self._put_aside)
        self._failures = FailureLog(log)

    def __len__(self) -> int:
        """Return the number of ObjectSyncs that are to be written."""
        return len(self._wanted)

    async def run(self) -> None:
        """Write until cancelled; what could not be written in an outage is written after it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._queue.run(_WORKERS))
                tasks.create_task(self._retry_after_outages())
        finally:
            self._queue.stop()

    async def _retry_after_outages(self) -> None:
        while True:
            await self._client.health.recovered()
            self._queue.retry_now()

    def changed(self, node: str, item: Item, before: Row | None, after: Row | None) -> None:
        """Have a changed row written."""
        if item[0] not in self._kinds:
            return
        if before and (after is None or after.uid != before.uid):
            self._want(self._key(node, item, before.uid), None)
        if after and after.uid and self._keeps(node):
            wanted = Wanted(item, version_of(after.seen), after.payload)
            self._want(self._key(node, item, after.uid), wanted)

    async def load(self, namespace: str | None) -> set[str]:
        """Read all ObjectSyncs, bring the record up to date with them, and return their nodes.

        Another cloud may have served since the record was written. So of an ObjectSync for another
        object, or with a newer version, the record takes what it says; and a row of which there
        was an ObjectSync and is none any more is of an object that the other cloud has deleted. A
        version that had become unsure before is not taken for sure again.
        Raises a KubeError.
        """
        self._written.clear()
        found: defaultdict[tuple[str, Item], dict[str, str]] = defaultdict(dict)
        async for key, item, version in self._read(namespace):
            self._written[key] = version
            found[key.node, item][key.uid] = version
        for (node, item), uids in found.items():
            row = self._record.row(node, item)
            uid = row.uid if row and row.uid in uids else next(iter(uids))
            same = row if row and row.uid == uid else None
            if same is None or is_newer(uids[uid], version_of(same.doubted or same.seen)):
                seen = "" if uids[uid] == UNSEEN else seen_of(item, uids[uid])
                self._record.put(node, item, (same or Row(uid))._replace(seen=seen, doubted=""))
            self._record.note_second(node, item, uid)
            for other in uids.keys() - {uid}:
                self._want(self._key(node, item, other), None)
        self._drop_deleted(found.keys(), namespace)
        return {node for node, _ in found}

    def _drop_deleted(self, found: Collection[tuple[str, Item]], namespace: str | None) -> None:
        """Drop the rows of objects whose ObjectSyncs another cloud has deleted with them.

        `namespace` is the one whose ObjectSyncs were read; None: all.
        If the API is an earlier copy that was restored, it has not had those ObjectSyncs yet: the
        nodes have the objects.
        """
        for node in self._record.nodes():
            deleted = [
                item
                for item, row in self._record.items(node).items()
                if self._record.has_second(node, item)
                and (node, item) not in found
                and namespace in (None, item[1])
                and not is_newer(version_of(row.seen), self._listed)
            ]
            self._record.remove(node, deleted)

    def compare(self) -> None:
        """Have written what only the record has; another acknowledged version makes no difference.

        (The record has the versions of pods whose status alone has changed since, too.)
        """
        for node in self._record.nodes():
            for item, row in self._record.items(node).items():
                if item[0] in self._kinds:
                    version = self._written.get(self._key(node, item, row.uid), "")
                    if not version or (version == UNSEEN) != (not row.seen):
                        self.changed(node, item, None, row)

    async def _read(self, namespace: str | None) -> AsyncIterator[tuple[SyncKey, Item, str]]:
        namespaced = {kind.namespaced for kind in self._kinds.values()}
        for resource, of_namespace in ((OBJECTSYNCS, namespace), (CLUSTEROBJECTSYNCS, None)):
            if resource.namespaced not in namespaced:
                continue
            async for page in self._client.pages(resource, of_namespace):
                self._listed = page.resource_version
                for obj in page.items:
                    if read := self._parse(obj):
                        yield read

    def _parse(self, obj: Object) -> tuple[SyncKey, Item, str] | None:
        """Return what an ObjectSync says, None for one of a kind that is not kept here."""
        sync = read_sync(obj)
        type_ = self._types.get((sync.api_version, sync.kind)) if sync else None
        if sync is None or type_ is None:
            return None
        item = (type_, sync.namespace or NO_NAMESPACE, sync.name)
        return SyncKey(sync.namespace, obj["metadata"]["name"]), item, sync.version

    def _key(self, node: str, item: Item, uid: str) -> SyncKey:
        type_, namespace, _ = item
        return SyncKey(namespace if self._kinds[type_].namespaced else "", name_of(node, uid))

    def _want(self, key: SyncKey, wanted: Wanted | None) -> None:
        if key not in self._wanted and self._has(key, wanted):
            return
        self._wanted[key] = wanted
        self._queue.add_later(key, _PAUSE)

    def _has(self, key: SyncKey, wanted: Wanted | None) -> bool:
        """Whether an ObjectSync is as it is to be."""
        return self._written.get(key) == (wanted and wanted.version)

    async def _write(self, key: SyncKey) -> None:
        if key not in self._wanted:
            return
        wanted = self._wanted[key]
        try:
            if wanted is None:
                await self._delete(key)
            else:
                await self._bring_to(key, wanted)
        except KubeError as error:
            if error.retriable:
                raise
            # The file has the row. A namespace may be gone, rights or the definitions missing.
            what = key.resource.describe(key.namespace, key.name)
            text = f"cannot write {what}: {error}; it is in the file of the record alone"
            self._failures.failed(key.resource.plural, type(error).__name__, text)
        else:
            self._failures.worked(key.resource.plural)
        if self._wanted.get(key) is wanted:
            del self._wanted[key]

    async def _delete(self, key: SyncKey) -> None:
        if key in self._written:
            try:
                await self._client.delete(key.resource, key.name, key.namespace or None)
            except NotFound:
                log.debug("%s: deleted already", key.name)
            del self._written[key]

    async def _bring_to(self, key: SyncKey, wanted: Wanted) -> None:
        version = wanted.version
        if key not in self._written:
            await self._create(key, wanted)
        if self._written[key] == version:
            return
        patch = {"status": {"objectResourceVersion": version}}
        try:
            await self._client.patch(
                key.resource, key.name, patch, key.namespace or None, subresource="status"
            )
        except NotFound:
            del self._written[key]  # somebody has deleted it
            await self._create(key, wanted)
            await self._client.patch(
                key.resource, key.name, patch, key.namespace or None, subresource="status"
            )
        self._written[key] = version

    async def _create(self, key: SyncKey, wanted: Wanted) -> None:
        made = self._made(key, wanted)
        try:
            await self._client.create(key.resource, made, key.namespace or None)
        except AlreadyExists:
            log.debug("%s: exists already", key.name)
        self._written[key] = ""
        self._record.note_second(key.node, wanted.item, key.uid)

    def _made(self, key: SyncKey, wanted: Wanted) -> Object:
        """Return a new ObjectSync."""
        item = wanted.item
        kind = self._kinds[item[0]]
        spec = {
            "objectAPIVersion": kind.api_version,
            "objectKind": kind.kind,
            "objectName": item[2],
        }
        metadata: Object = {"name": key.name}
        if key.namespace:
            metadata["namespace"] = key.namespace
        return {"metadata": metadata, "spec": spec}

    def _put_aside(self, key: SyncKey, error: Exception) -> None:
        self._wanted.pop(key, None)
        log.error("cannot write %s %s", key.resource.kind, key.name, exc_info=error)

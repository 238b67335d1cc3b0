"""ObjectSyncs that several replicas write: which of them holds a node changes at any moment.

Nobody but the API can say what an edge has, so its record is never stronger than the truth:

- What makes a row weaker (a new row; a version that is not sure any more, as a deletion is about to
  be sent; what else is about to be sent of an object) is in the API before the message goes to the
  edge.
- What makes it stronger (an acknowledgement) is written afterwards, on the condition that nobody
  has written the ObjectSync since. If somebody has, the row is not sure any more, and the object is
  sent again: only the answer to a message that is sent from now on shows that the edge is here.
  Until it is known what that write has done, no deletion is sent, nor what is needed again: the
  API might say in the end that the edge has the object, or that it has nothing of it.
- Whoever takes a node over reads its rows first, and writes those anew that have no version, if it
  was not the last to write them: what the former holder may still write about them fails.

tests/modules/common/replicas/ has the model.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from modules.common.kube import (
    AlreadyExists,
    ApiError,
    Conflict,
    KubeClient,
    NotFound,
    Object,
    Resource,
)
from modules.common.sync.awaited_writes import AwaitedWrites
from modules.common.sync.journal import Item, Row
from modules.common.sync.object_syncs import ObjectSyncs, Wanted
from modules.common.sync.record import DENIED, Record
from modules.common.sync.row_reader import WEAK, RowReader, may_be_of_one, sent_in, version_in
from modules.common.sync.sync_form import (
    CONTROLLER_LABEL,
    NODE_LABEL,
    SENT,
    UNSEEN,
    SyncKey,
    label_of,
    write_sent,
)
from modules.common.sync.sync_index import SyncIndex

#: Seconds for which a message waits for its row to be written.
_PATIENCE: Final = 5.0

log = logging.getLogger(__name__)


class FencedObjectSyncs(ObjectSyncs):
    """The record in the API of the nodes that this replica holds."""

    def __init__(
        self,
        client: KubeClient,
        record: Record,
        kinds: Mapping[str, Resource],
        index: SyncIndex,
        versions_count: Callable[[str], bool],
        *,
        on_foreign: Callable[[str, Item], None],
        decode: Callable[[bytes], Any] = msgspec.json.decode,
    ) -> None:
        """Set up; `versions_count` says of which nodes acknowledged versions are kept.

        `on_foreign` gets a node and an item whose row another replica has written; `decode`
        decodes the payload of a row, or raises a MsgspecError.
        """
        super().__init__(client, record, kinds, lambda _: True)
        self._index = index
        self._versions_count = versions_count
        self._on_foreign = on_foreign
        self._revisions: dict[SyncKey, str] = {}
        """the resourceVersion of each ObjectSync as it was written or read here"""
        self._sent: dict[SyncKey, str] = {}
        """the annotations with payloads of those that have one"""
        self._doubtful: set[SyncKey] = set()
        """those that are being given a version or removed, or were with an unknown result"""
        self._of_others: set[SyncKey] = set()
        """those that others were the last to write, as far as they are known here"""
        self._keys: defaultdict[str, set[SyncKey]] = defaultdict(set)
        """those that are known here, by node"""
        self._awaited: AwaitedWrites[SyncKey] = AwaitedWrites()
        self._reader = RowReader(client, self._awaited, decode)
        self._foreign: set[SyncKey] = set()
        """those of which the present attempt to write has found a write of another replica"""

    def changed(self, node: str, item: Item, before: Row | None, after: Row | None) -> None:
        before, after = _kept(before), _kept(after)
        if after and after.seen and not self._versions_count(node):
            after = after._replace(seen="")
        super().changed(node, item, before, after)

    async def publish(self, node: str, item: Item, row: Row) -> None:
        """Create the ObjectSync of a row, as one that is not sure; raises a KubeError."""
        if _kept(row) is None or item[0] not in self._kinds or not row.uid:
            return
        key = self._key(node, item, row.uid)
        made = self._made(key, Wanted(item, UNSEEN, row.payload))
        with suppress(AlreadyExists, NotFound):  # with its namespace, the object is gone, too
            await self._client.create(key.resource, made, key.namespace or None)

    async def load_node(self, node: str) -> None:
        """Read what a node has, before anything is sent to it; raises a KubeError."""
        record = self._record
        await self._index.catch_up()
        found: defaultdict[Item, dict[str, Row]] = defaultdict(dict)
        keys, others = set[SyncKey](), set[SyncKey]()
        read_anew: list[tuple[SyncKey, Object]] = []
        failed: ApiError | None = None
        for obj in self._index.of_node(node):
            read = self._parse(obj)
            if read is None:
                continue
            key, item, _ = read
            row = self._known_row(obj, key, record.row(node, item))
            if row is None:
                try:
                    is_ours = self._is_ours(key, obj)
                    present = await self._reader.read(key, obj, is_ours=is_ours)
                except NotFound:
                    continue  # it was deleted since
                except ApiError as error:
                    if not may_be_of_one(error):
                        raise
                    failed = error
                    continue
                read_anew.append((key, present))
                if not is_ours and _revision(present) == _revision(obj):
                    others.add(key)
                self._wanted.pop(key, None)
                row = self._reader.row(key, item, present)
            found[item][row.uid] = row
            keys.add(key)
        if failed:
            raise failed
        # Not before all is read: after a failure, what the record has would be taken for known.
        for key, obj in read_anew:
            self._learn(key, obj, version_in(obj), sent_in(obj))
        self._of_others |= others
        self._forget_others(node, keys)
        rows = {}
        for item, by_uid in found.items():
            before = record.row(node, item)
            row = (before and by_uid.get(before.uid)) or next(iter(by_uid.values()))
            rows[item] = row
            for other in by_uid.keys() - {row.uid}:
                self._want(self._key(node, item, other), None)
        record.replace_rows(node, rows, self._kinds)

    def forget_node(self, node: str) -> bool:
        """Forget what a node has that is elsewhere; whether all that was to be written is."""
        keys = self._keys.get(node, set())
        if not self._wanted.keys().isdisjoint(keys):
            return False
        for key in list(keys):
            self._drop(key)
        self._record.replace_rows(node, {}, self._kinds)
        return True

    async def weaken(self, rows: Iterable[tuple[str, Item]]) -> set[tuple[str, Item]]:
        """Write what has to be written before messages about these rows are sent.

        Returns those with which that has not worked in time.
        """
        known = ((node, item, self._record.row(node, item)) for node, item in rows)
        return await self.write_first((node, item, row) for node, item, row in known if row)

    async def write_first(self, rows: Iterable[tuple[str, Item, Row]]) -> set[tuple[str, Item]]:
        """Do the same for rows that the record gets afterwards."""
        awaited: dict[asyncio.Future[bool], tuple[str, Item]] = {}
        failing: set[tuple[str, Item]] = set()
        for node, item, each in rows:
            row = _kept(each)
            if row is None or item[0] not in self._kinds:
                continue
            key = self._key(node, item, row.uid)
            if not self._is_safe(key, row):
                self.changed(node, item, None, row)
                if self._awaited.is_failing(key):
                    failing.add((node, item))
                    continue
                awaited[self._awaited.next(key)] = node, item
                self._queue.add(key)
        if not awaited:
            return failing
        done, late = await asyncio.wait(awaited, timeout=_PATIENCE)
        failed = {future for future in done if not future.result()}
        return failing | {awaited[future] for future in late | failed}

    async def write_loss(self, node: str) -> bool:
        """Write that nothing is sure of what a node has; whether the API knows that now.

        What the API server fails to write, and that alone, is written when it can be.
        """
        rows = [(node, item) for item in self._record.items(node)]
        late = await self.weaken(rows)
        return all(self._fails(node, item) for _, item in late)

    def _fails(self, node: str, item: Item) -> bool:
        row = self._record.row(node, item)
        return row is None or self._awaited.is_failing(self._key(node, item, row.uid))

    def _is_safe(self, key: SyncKey, row: Row) -> bool:
        """Whether the API says no more than that a node may have what is in a row."""
        written = self._written.get(key)
        if written is None:
            return False
        if not row.seen and (written not in WEAK or key in self._doubtful):
            return False
        return self._sent.get(key, "") == write_sent(row.payload)

    def _has(self, key: SyncKey, wanted: Wanted | None) -> bool:
        return super()._has(key, wanted) and (
            wanted is None or self._sent.get(key, "") == write_sent(wanted.payload)
        )

    async def _write(self, key: SyncKey) -> None:
        await self._awaited.write(key, partial(self._write_once, key))

    async def _write_once(self, key: SyncKey) -> bool:
        """Write an ObjectSync; whether no other replica has written it."""
        self._foreign.discard(key)
        await super()._write(key)
        return key not in self._foreign

    async def _bring_to(self, key: SyncKey, wanted: Wanted) -> None:
        if key not in self._written and not await self._make(key, wanted):
            return
        sent = write_sent(wanted.payload)
        if self._sent.get(key, "") != sent:
            patch: Object = {"metadata": {"annotations": {SENT: sent or None}}}
            if not await self._patch(key, wanted, patch, sent=sent):
                return
        if self._wanted.get(key) is not wanted:
            return  # it has become weaker while the first part was written
        is_known = key not in self._doubtful
        if is_known and {self._written[key], wanted.version} <= set(WEAK):
            return
        if not is_known or self._written[key] != wanted.version:
            status = {"status": {"objectResourceVersion": wanted.version}}
            await self._patch(key, wanted, status, "status", version=wanted.version)

    async def _patch(
        self,
        key: SyncKey,
        wanted: Wanted,
        patch: Object,
        subresource: str = "",
        *,
        version: str | None = None,
        sent: str | None = None,
    ) -> bool:
        """Patch an ObjectSync that nobody else has written since; whether it was patched."""
        fenced = {"resourceVersion": self._revisions[key], **patch.get("metadata", {})}
        if version not in (None, *WEAK):
            self._doubtful.add(key)  # until the answer is there
        try:
            written = await self._client.patch(
                key.resource,
                key.name,
                {**patch, "metadata": fenced},
                key.namespace or None,
                subresource=subresource,
            )
        except NotFound:
            self._drop(key)
            if wanted.version in WEAK:
                await self._make(key, wanted)
            return False
        except Conflict:
            await self._read_foreign(key, wanted.item)
            return False
        version = self._written[key] if version is None else version
        self._learn(key, written, version, self._sent.get(key, "") if sent is None else sent)
        return True

    async def _make(self, key: SyncKey, wanted: Wanted) -> bool:
        try:
            made = await self._client.create(
                key.resource, self._made(key, wanted), key.namespace or None
            )
        except AlreadyExists:
            await self._read_foreign(key, wanted.item)
            return False
        self._learn(key, made, "", write_sent(wanted.payload))
        self._record.note_second(key.node, wanted.item, key.uid)
        return True

    def _made(self, key: SyncKey, wanted: Wanted) -> Object:
        obj = super()._made(key, wanted)
        obj["metadata"]["labels"] = {
            NODE_LABEL: label_of(key.node),
            CONTROLLER_LABEL: self._client.module,
        }
        if sent := write_sent(wanted.payload):
            obj["metadata"]["annotations"] = {SENT: sent}
        return obj

    async def _delete(self, key: SyncKey) -> None:
        if key not in self._written:
            return
        self._doubtful.add(key)  # until the answer is there
        # After a conflict there is a row too many: it costs a deletion at the next takeover.
        with suppress(NotFound, Conflict):
            await self._client.delete(
                key.resource, key.name, key.namespace or None, version=self._revisions[key]
            )
        self._drop(key)

    async def _read_foreign(self, key: SyncKey, item: Item) -> None:
        """Take note of a row that another replica has written."""
        self._foreign.add(key)
        try:
            obj = await self._client.get(key.resource, key.name, key.namespace or None)
        except NotFound:
            self._drop(key)
            return
        read = self._parse(obj)
        self._learn(key, obj, read[2] if read else "", sent_in(obj))
        self._of_others.add(key)
        self._on_foreign(key.node, item)

    def _known_row(self, obj: Object, key: SyncKey, before: Row | None) -> Row | None:
        """Return the row of the record if it says more than its ObjectSync.

        It does if nobody has written that since this replica did, unless it has no version.
        """
        is_sure = self._revisions.get(key) == _revision(obj) and version_in(obj) not in WEAK
        return before if is_sure and before and before.uid == key.uid else None

    def _is_ours(self, key: SyncKey, obj: Object) -> bool:
        """Whether this replica was the last to write an ObjectSync, and is not writing it now.

        Whoever takes its node over writes it, so its node has been nobody else's since.
        """
        is_known = self._revisions.get(key) == _revision(obj)
        return is_known and key not in self._of_others and key not in self._doubtful

    def _forget_others(self, node: str, found: Container[SyncKey]) -> None:
        """Forget the ObjectSyncs of a node that are there no more."""
        for key in list(self._keys.get(node, ())):
            if key not in found:
                self._drop(key)
                self._wanted.pop(key, None)

    def _learn(self, key: SyncKey, obj: Object, version: str, sent: str) -> None:
        self._written[key] = version
        self._revisions[key] = _revision(obj)
        self._doubtful.discard(key)
        self._of_others.discard(key)
        self._keys[key.node].add(key)
        if sent:
            self._sent[key] = sent
        else:
            self._sent.pop(key, None)

    def _drop(self, key: SyncKey) -> None:
        for known in (self._written, self._revisions, self._sent):
            known.pop(key, None)
        self._doubtful.discard(key)
        self._of_others.discard(key)
        keys = self._keys.get(key.node, set())
        keys.discard(key)
        if not keys:
            self._keys.pop(key.node, None)


def _revision(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


def _kept(row: Row | None) -> Row | None:
    """Return a row if it is about an object that exists or has existed."""
    return None if row is None or row.uid == DENIED else row

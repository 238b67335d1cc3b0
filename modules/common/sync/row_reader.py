"""Reading the ObjectSyncs of a node that comes; those without a version are written anew.

So what the former holder of the node may still write about these fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from modules.common.kube import ApiError, BadRequest, Invalid, KubeClient, Object
from modules.common.sync.awaited_writes import AwaitedWrites
from modules.common.sync.journal import Item, Row
from modules.common.sync.record import EVERY_NODE
from modules.common.sync.sync_form import SENT, UNSEEN, SyncKey, read_sync, seen_of
from modules.common.sync.sync_index import is_shortened

#: Says when a row without a version was written anew.
_TAKEN: Final = "cloudcore.kubeedge.io/taken"

#: The versions of a row that says no more than that the node may have the object.
WEAK: Final = ("", UNSEEN)

log = logging.getLogger(__name__)


class RowReader:
    """Reads ObjectSyncs of which the index has what a record needs."""

    def __init__(
        self,
        client: KubeClient,
        writes: AwaitedWrites[SyncKey],
        decode: Callable[[bytes], Any],
    ) -> None:
        """Set up; `decode` decodes the payload of a row, or raises a MsgspecError."""
        self._client = client
        self._writes = writes
        self._decode = decode

    async def read(self, key: SyncKey, obj: Object, *, is_ours: bool) -> Object:
        """Return an ObjectSync of the index as it is; one without a version is written anew.

        Not if it is ours: this replica was the last to write it.
        """
        if version_in(obj) in WEAK and key.node != EVERY_NODE and not is_ours:
            obj = await self._take(key, obj)
        if is_shortened(obj):
            obj = await self._client.get(key.resource, key.name, key.namespace or None)
        return obj

    def row(self, key: SyncKey, item: Item, obj: Object) -> Row:
        """Return the row that an ObjectSync says."""
        version = version_in(obj)
        seen = "" if version in WEAK else seen_of(item, version)
        return Row(key.uid, seen, self._payload(sent_in(obj)), in_second=True)

    async def _take(self, key: SyncKey, obj: Object) -> Object:
        """Write an ObjectSync anew and return it, or as it was if this one alone is refused.

        So it is, too, if the server has failed to write it several times.
        """
        patch = {"metadata": {"annotations": {_TAKEN: str(time.time_ns())}}}
        try:
            obj = await self._client.patch(key.resource, key.name, patch, key.namespace or None)
        except ApiError as error:
            if not isinstance(error, BadRequest | Invalid):
                self._writes.note_failure(key, error)
                if not may_be_of_one(error) or not self._writes.is_failing(key):
                    raise
            what = key.resource.describe(key.namespace, key.name)
            log.warning("%s: cannot be written, what it says is kept: %s", what, error)
        else:
            self._writes.note_success(key)
        return obj

    def _payload(self, sent: str) -> Any:
        """Return the payload in an annotation, None if there is none or somebody has changed it."""
        with suppress(msgspec.MsgspecError):
            return self._decode(sent.encode()) if sent else None
        return None


def may_be_of_one(error: ApiError) -> bool:
    """Whether the server may have failed with one ObjectSync alone: there is no outage."""
    return error.is_of_server and not error.outage


def version_in(obj: Object) -> str:
    """Return the version in an ObjectSync; empty if none was ever written."""
    sync = read_sync(obj)
    return sync.version if sync else ""


def sent_in(obj: Object) -> str:
    """Return the annotation with what else was sent of an object; empty if there is none."""
    sent = (obj["metadata"].get("annotations") or {}).get(SENT)
    return sent if isinstance(sent, str) else ""

"""A barrier: what others have written before now is known when this replica has seen it.

A watch shows all writes of a resource in their order, some time after they were made. So a replica
that writes an object of the resource, and waits until the watch shows that, knows all that was
written before. A list would tell the same, but the API server looks at every object for it.

All replicas write the same object, which is none of a node. Whoever waits while a write is on its
way shares the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from modules.common.failure_log import FailureLog
from modules.common.kube import (
    AlreadyExists,
    KubeClient,
    NotFound,
    Object,
    Resource,
    Unreachable,
)
from modules.common.shared_answers import SharedAnswers
from modules.common.sync.sync_form import is_newer

#: The name of the object, and the annotation that makes each write a change.
NAME: Final = "barrier.cloudcore.kubeedge.io"
_WRITTEN: Final = "cloudcore.kubeedge.io/written"

#: Seconds for which the watch may be behind a write.
_PATIENCE: Final = 10.0

log = logging.getLogger(__name__)


class WriteBarrier:
    """The barrier of one resource; `seen` is to be called with each state that the watch shows."""

    def __init__(self, client: KubeClient, resource: Resource, namespace: str | None) -> None:
        self._client = client
        self.resource = resource
        self._namespace = namespace
        self._version = ""
        """the latest that the watch has shown since the write"""
        self._any_seen = asyncio.Event()
        self._failures = FailureLog(log)
        self._passing = SharedAnswers(self._pass, at_once=1)
        self.on_behind: Callable[[], None] = lambda: None
        """called when the watch has not shown in time what was written"""

    def seen(self, obj: Object) -> None:
        """Take note that the watch has come to a write of the barrier."""
        self._version = obj["metadata"]["resourceVersion"]
        self._any_seen.set()
        self._any_seen = asyncio.Event()

    async def passed(self) -> None:
        """Wait until the watch has shown what was written before; raises a KubeError."""
        await self._passing.ask(NAME)

    async def _pass(self, _: str) -> None:
        # An API that was restored from a backup has lower versions than the watch has shown.
        self._version = ""
        written = await self._write()
        await self._shown(written["metadata"]["resourceVersion"])

    async def _write(self) -> Object:
        metadata: Object = {"annotations": {_WRITTEN: str(time.time_ns())}}
        try:
            return await self._client.patch(
                self.resource, NAME, {"metadata": metadata}, self._namespace
            )
        except NotFound:
            made = {"metadata": {"name": NAME, **metadata}}
        try:
            return await self._client.create(self.resource, made, self._namespace)
        except AlreadyExists:
            return await self._write()

    async def _shown(self, version: str) -> None:
        what = self.resource.plural
        try:
            async with asyncio.timeout(_PATIENCE):
                while is_newer(version, self._version):
                    await self._any_seen.wait()
        except TimeoutError:
            text = f"the watch of {what} has not shown in {_PATIENCE:.0f} s what was written"
            more = "nodes that come wait for it; does a proxy hold back what the API server sends?"
            self._failures.failed("", "behind", f"{text}: {more}")
            self.on_behind()
            raise Unreachable(text, request=f"watch {what}") from None
        self._failures.worked("", f"the watch of {what} shows again what is written")


def is_barrier(obj: Object) -> bool:
    """Whether an object is a barrier, of any resource."""
    return bool(obj["metadata"]["name"] == NAME)

"""A barrier: what others have written before now is known when this replica has seen it.

A watch shows all writes of a resource in their order, some time after they were made. So a replica
that writes an object of the resource, and waits until the watch shows that, knows all that was
written before. A list would tell the same, but the API server looks at every object for it.

All replicas write the same object, which is none of a node. Whoever waits while a write is on its
way shares the next one.
"""

from __future__ import annotations

import time
from typing import Final

from modules.common.kube import (
    AlreadyExists,
    KubeClient,
    NotFound,
    Object,
    Resource,
    WatchProgress,
)
from modules.common.shared_answers import SharedAnswers

#: The name of the object, and the annotation that makes each write a change.
NAME: Final = "barrier.cloudcore.kubeedge.io"
_WRITTEN: Final = "cloudcore.kubeedge.io/written"


class WriteBarrier:
    """The barrier of one resource; the watch tells `progress` what it shows of the object."""

    def __init__(self, client: KubeClient, resource: Resource, namespace: str | None) -> None:
        self._client = client
        self.resource = resource
        self._namespace = namespace
        self.progress = WatchProgress(
            resource,
            "nodes that come wait for it; does a proxy hold back what the API server sends?",
        )
        self._passing = SharedAnswers(self._pass, at_once=1)

    async def passed(self) -> None:
        """Wait until the watch has shown what was written before; raises a KubeError."""
        await self._passing.ask(NAME)

    async def _pass(self, _: str) -> None:
        self.progress.start_over()
        await self.progress.shown(await self._write())

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


def is_barrier(obj: Object) -> bool:
    """Whether an object is a barrier, of any resource."""
    return bool(obj["metadata"]["name"] == NAME)

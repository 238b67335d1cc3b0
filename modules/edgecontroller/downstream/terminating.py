"""Pods that are set aside and being deleted: their nodes cannot be told of them as they are.

A pod that was usable before is ended by its node in that state. Of any other nobody would ever
report that it has ended, so it is taken out of the API at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from modules.common.kube import PODS, Key, Object, SetAside, Subject, WatchEvent, reference, retry
from modules.common.kube.health import ApiHealth
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import POD


class Terminating:
    """Sees to the deletion of pods that are set aside."""

    def __init__(
        self,
        state: State,
        handle: Callable[[WatchEvent], None],
        delete: Callable[[Object], Awaitable[None]],
        health: ApiHealth,
        set_aside: SetAside,
    ) -> None:
        """Set up; `handle` is told of changed pods, `delete` takes one out of the API."""
        self._state = state
        self._handle = handle
        self._delete = delete
        self._health = health
        self._set_aside = set_aside
        self._due: asyncio.Queue[Object] = asyncio.Queue()

    def look_at(self, key: Key) -> None:
        """Go on with the deletion of a pod that is set aside, if it is to be deleted."""
        aside = self._state.aside[POD].get(key)
        deletion = _deletion_of(aside.object) if aside else {}
        if not aside or not deletion:
            return
        pods = self._state.stores[POD]
        if old := pods.get(key):
            pod = pods[key] = {**old, "metadata": {**old["metadata"], **deletion}}
            self._handle(WatchEvent("MODIFIED", pod, old))
        else:
            self._due.put_nowait({"metadata": reference(PODS, aside.object)})

    async def run(self) -> None:
        """Delete pods until cancelled; one that the API server cannot delete delays no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._complete(await self._due.get()))

    async def _complete(self, pod: Object) -> None:
        with self._set_aside.isolating(Subject.of(PODS, pod)):
            await retry(lambda: self._delete(pod), self._health)


def _deletion_of(pod: Any) -> Object:
    """Return the part of a pod's metadata that says that it is being deleted, and of what version.

    Empty if it is not.
    """
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("deletionTimestamp"):
        return {}
    fields = {"deletionTimestamp": str, "deletionGracePeriodSeconds": int, "resourceVersion": str}
    return {
        name: metadata[name] for name, type_ in fields.items() if type(metadata.get(name)) is type_
    }

"""Pods that are set aside and are being deleted: they cannot be sent to their nodes.

If the pod was usable before, its node terminates that state of it. Otherwise no node would ever
report that it has terminated, so it is deleted from the API at once.
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
    """Completes the deletion of pods that are set aside."""

    def __init__(
        self,
        state: State,
        handle: Callable[[WatchEvent], None],
        delete: Callable[[Object], Awaitable[None]],
        health: ApiHealth,
        set_aside: SetAside,
    ) -> None:
        """Set up; `handle` gets events of changed pods, `delete` deletes a pod from the API."""
        self._state = state
        self._handle = handle
        self._delete = delete
        self._health = health
        self._set_aside = set_aside
        self._due: asyncio.Queue[Object] = asyncio.Queue()

    def enqueue(self, key: Key) -> None:
        """Continue the deletion of a pod that is set aside, if it is being deleted."""
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
        """Delete pods until cancelled; one that the API server fails to delete delays no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._complete(await self._due.get()))

    async def _complete(self, pod: Object) -> None:
        with self._set_aside.isolating(Subject.of(PODS, pod)):
            await retry(lambda: self._delete(pod), self._health)


def _deletion_of(pod: Any) -> Object:
    """Return the metadata of a pod's deletion and its resourceVersion.

    Empty if it is not being deleted.
    """
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("deletionTimestamp"):
        return {}
    fields = {"deletionTimestamp": str, "deletionGracePeriodSeconds": int, "resourceVersion": str}
    return {
        name: metadata[name] for name, type_ in fields.items() if type(metadata.get(name)) is type_
    }

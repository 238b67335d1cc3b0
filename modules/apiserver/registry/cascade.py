"""What goes with a deleted namespace or CRD: removed in turns, whatever happens meanwhile.

As kube-controller-manager's namespace controller does it: the deletion itself only marks, and what
is left to do is seen from the objects. Each turn is a transaction, so the next life of the server
goes on where this one has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from modules.apiserver.catalog import Resource
from modules.apiserver.meta.objects import Entry, Json
from modules.apiserver.registry import deletion
from modules.apiserver.registry.registry import Registry
from modules.apiserver.storage.store import Transaction
from modules.apiserver.turns import Turn
from supervisor.api import TemporaryFailure

# While the disk is full.
RETRY_SECONDS = 1.0
_NAMESPACES = "namespaces"
_CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Cascade:
    """Watches for namespaces and CRDs that are being deleted."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    async def run(self) -> None:
        """Delete what goes with them until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(_NAMESPACES, self._empty_namespace))
            group.create_task(self._follow(_CRDS, self._remove_instances))

    async def _follow(self, storage: str, handle: Callable[[Entry], Awaitable[None]]) -> None:
        """Handle each object that is marked as deleted once, also those from before the start."""
        collection = self._store.collection(storage)
        wake = collection.history.subscribe()
        handled: set[str] = set()
        while True:
            wake.clear()
            marked = {
                entry.decode()["metadata"]["uid"]: entry
                for entry in collection.snapshot()
                if _is_marked(entry)
            }
            try:
                for uid in marked.keys() - handled:
                    await handle(marked[uid])
            except TemporaryFailure:  # the store has said so
                await asyncio.sleep(RETRY_SECONDS)
                continue
            # Nothing new can come into a namespace that is being deleted: once is enough.
            handled = set(marked)
            await wake.wait()

    async def _empty_namespace(self, namespace: Entry) -> None:
        """Delete as a client would: what has finalizers or a grace period is only marked."""
        catalog, name = self._registry.catalog, namespace.key[1]
        nothing = deletion.Options()
        for resource in deletion.namespaced(catalog):
            await self._each(
                _NAMESPACES,
                namespace,
                self._store.collection(resource.storage).snapshot(name),
                resource,
                lambda transaction, of, entry: deletion.delete(
                    transaction, catalog, of, entry, nothing
                ),
            )
        with self._store.transaction() as transaction:
            deletion.finish_namespace(transaction, catalog, name)

    async def _remove_instances(self, crd: Entry) -> None:
        """Remove them, finalizers or not, then the CRD."""
        catalog, name = self._registry.catalog, crd.key[1]
        if served := catalog.of_storage(name):
            await self._each(
                _CRDS,
                crd,
                self._store.collection(served.storage).snapshot(),
                served,
                lambda transaction, of, entry: deletion.remove(
                    transaction, catalog, of, entry.key, entry.decode()
                ),
            )
        present = self._store.collection(_CRDS).entries.get(crd.key)
        if present and deletion.CLEANUP_FINALIZER in _finalizers(present.decode()):
            definitions = catalog.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
            self._registry.modify(definitions, "", name, _without_cleanup)

    async def _each(
        self,
        owners: str,
        owner: Entry,
        entries: list[Entry],
        resource: Resource,
        delete: Callable[[Transaction, Resource, Entry], object],
    ) -> None:
        """Delete the entries that are still there, a transaction for each turn.

        It ends when the owner is gone: what is there then is of another of its name.
        """
        left = iter(entries)
        turn = Turn()
        while first := next(left, None):
            with self._store.transaction() as transaction:
                if not _is_marked(transaction.get(owners, owner.key)):
                    return
                entry: Entry | None = first
                while entry is not None:
                    if present := transaction.get(resource.storage, entry.key):
                        delete(transaction, resource, present)
                    entry = None if turn.is_over else next(left, None)
            await turn.next()


def _is_marked(entry: Entry | None) -> bool:
    return entry is not None and "deletionTimestamp" in entry.decode()["metadata"]


def _finalizers(obj: Json) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def _without_cleanup(crd: Json) -> Json:
    left = [name for name in _finalizers(crd) if name != deletion.CLEANUP_FINALIZER]
    crd["metadata"]["finalizers"] = left
    return crd

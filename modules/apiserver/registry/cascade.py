"""Cascading deletion: the contents of a deleted namespace or CRD are removed in turns.

It reconciles like the namespace controller of kube-controller-manager: the deletion only marks an
object, and the remaining work is read from the objects. Each turn is a transaction, so the work
continues after a restart of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from modules.apiserver.catalog import Resource
from modules.apiserver.meta.objects import Entry, Json
from modules.apiserver.registry import deletion
from modules.apiserver.registry.definitions import CRDS
from modules.apiserver.registry.registry import Registry
from modules.apiserver.storage.transaction import Transaction
from modules.apiserver.turns import Turn
from supervisor.api import TemporaryFailure

#: Seconds between retries while the disk is full.
RETRY_SECONDS = 1.0
_NAMESPACES = "namespaces"


class Cascade:
    """The controller of namespaces and CRDs that are being deleted."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    async def run(self) -> None:
        """Delete their contents until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(_NAMESPACES, self._empty_namespace))
            group.create_task(self._follow(CRDS, self._remove_instances))

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
            except TemporaryFailure:  # the store has logged it
                await asyncio.sleep(RETRY_SECONDS)
                continue
            # No object can be created in a namespace that is being deleted: once is enough.
            handled = set(marked)
            await wake.wait()

    async def _empty_namespace(self, namespace: Entry) -> None:
        """Delete as a client would: objects with finalizers or a grace period are only marked."""
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
        """Remove the instances, whatever their finalizers, then the CRD."""
        catalog, name = self._registry.catalog, crd.key[1]
        if served := catalog.of_storage(name):
            await self._each(
                CRDS,
                crd,
                self._store.collection(served.storage).snapshot(),
                served,
                lambda transaction, of, entry: deletion.remove(
                    transaction, catalog, of, entry.key, entry.decode()
                ),
            )
        present = self._store.collection(CRDS).entries.get(crd.key)
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
        """Delete those entries that still exist, in one transaction for each turn.

        Stop when the owner is gone: the objects may then belong to a new owner of the same name.
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

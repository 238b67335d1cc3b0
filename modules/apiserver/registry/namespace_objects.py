"""The objects that every namespace has: a ServiceAccount and the certificate of the CA.

They are created with the namespace, so that pods can be created in it at once, and are restored if
they are deleted or changed, as by the controllers of kube-controller-manager
(pkg/controller/serviceaccount, pkg/controller/certificates/rootcacertpublisher).
"""

from __future__ import annotations

import asyncio
from typing import Final

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.meta.objects import Entry, Json, Key
from modules.apiserver.registry import metadata
from modules.apiserver.storage.store import Store
from modules.apiserver.storage.transaction import Transaction
from modules.apiserver.turns import Turn
from supervisor.api import TemporaryFailure

SERVICE_ACCOUNT: Final = "default"
ROOT_CA: Final = "kube-root-ca.crt"
CA_KEY: Final = "ca.crt"
#: Seconds between retries while the disk is full.
RETRY_SECONDS: Final = 1.0
_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


class NamespaceObjects:
    """Creates the objects that every namespace has, and keeps them right."""

    def __init__(self, store: Store, catalog: Catalog, root_ca: str) -> None:
        self._store = store
        self._accounts = catalog.find("", "v1", "serviceaccounts")
        self._configmaps = catalog.find("", "v1", "configmaps")
        self._root_ca = root_ca
        # The revision of each ConfigMap that has been found right: not decoded again.
        self._right: dict[str, int] = {}

    def ensure(self, transaction: Transaction, namespace: str) -> None:
        """Create what is missing in an active namespace, and mend what is wrong."""
        key = (namespace, SERVICE_ACCOUNT)
        if self._is_missing(transaction, self._accounts, key):
            transaction.put(self._accounts, key, _new(self._accounts, *key))
        self._ensure_root_ca(transaction, namespace)

    def _ensure_root_ca(self, transaction: Transaction, namespace: str) -> None:
        key = (namespace, ROOT_CA)
        data = {CA_KEY: self._root_ca}
        if self._is_missing(transaction, self._configmaps, key):
            configmap = _new(self._configmaps, *key)
            configmap["metadata"]["annotations"] = {"kubernetes.io/description": _DESCRIPTION}
            transaction.put(self._configmaps, key, {**configmap, "data": data})
            return
        present = transaction.get(self._configmaps.storage, key)
        if present is None or self._right.get(namespace) == present.revision:
            return
        configmap = present.decode()
        if configmap.get("data") != data:
            transaction.put(self._configmaps, key, {**configmap, "data": data})
        else:
            self._right[namespace] = present.revision

    def _is_missing(self, transaction: Transaction, resource: Resource, key: Key) -> bool:
        """Whether there is no such object, not even one that was set aside."""
        if transaction.get(resource.storage, key) is not None:
            return False
        return not self._store.aside.has(resource.storage, key)

    def ensure_all(self) -> None:
        """Do it for all active namespaces, in one transaction."""
        with self._store.transaction() as transaction:
            for namespace in self._active():
                self.ensure(transaction, namespace)

    async def run(self) -> None:
        """Keep the objects right until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in (self._accounts, self._configmaps):
                group.create_task(self._follow(resource))

    async def _follow(self, resource: Resource) -> None:
        wake = self._store.collection(resource.storage).history.subscribe()
        while True:
            wake.clear()
            try:
                await self._mend()
            except TemporaryFailure:  # the store has logged it
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await wake.wait()

    async def _mend(self) -> None:
        turn = Turn()
        for namespace in self._active():
            with self._store.transaction() as transaction:
                # It may be gone, or be deleted, since the turn before.
                found = transaction.get("namespaces", ("", namespace))
                if found is not None and _is_active(found):
                    self.ensure(transaction, namespace)
            if turn.is_over:
                await turn.next()

    def _active(self) -> list[str]:
        return [
            entry.key[1]
            for entry in self._store.collection("namespaces").entries.values()
            if _is_active(entry)
        ]


def _is_active(namespace: Entry) -> bool:
    return namespace.fields.get("status.phase") != "Terminating"


def _new(resource: Resource, namespace: str, name: str) -> Json:
    obj: Json = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"name": name, "namespace": namespace},
    }
    metadata.start(obj["metadata"])
    return obj

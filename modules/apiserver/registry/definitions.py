"""The CRDs in the store, and the custom resources that they define."""

from __future__ import annotations

from typing import Final

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.kinds import crdrules, customresources
from modules.apiserver.meta.objects import Entry, Json, Key
from modules.apiserver.meta.status import Cause
from modules.apiserver.storage.store import Store

CRDS: Final = "customresourcedefinitions.apiextensions.k8s.io"


class Definitions:
    """The custom resources of the catalog, kept in sync with the CRDs."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def load(self) -> None:
        """Serve what the stored CRDs define; one that cannot be used is set aside."""
        for entry in list(self._store.collection(CRDS).entries.values()):
            try:
                self._catalog.add(self._usable(entry))
            except ValueError as error:
                self._store.put_aside(CRDS, entry.key, str(error))
        self._store.load(self._catalog)

    def _usable(self, entry: Entry) -> Resource:
        crd = entry.decode()
        resource = customresources.resource_of(crd)
        claimed = self.claims(crd)
        if claimed:
            raise ValueError(", ".join(cause.text() for cause in claimed))
        return resource

    def claims(self, crd: Json) -> list[Cause]:
        """Return the names of a CRD that belong to a built-in resource."""
        return crdrules.claims(crd, self._catalog)

    def prepare(self, key: Key, custom: Resource) -> None:
        """Delete the objects that a new CRD must not find in the file.

        Earlier versions left the objects of a deleted CRD there. The objects of a CRD that was
        set aside are kept: they are served again when it is created again.
        """
        if not self._store.aside.has(CRDS, key):
            self._store.discard_all(custom.storage)

    def serve(self, custom: Resource) -> None:
        """Serve a custom resource, replacing the previous definition of its CRD."""
        self._catalog.remove(custom.storage)
        self._catalog.add(custom)
        self._store.load(self._catalog)

    def discard(self, name: str) -> None:
        """Delete the objects of a CRD that was set aside and is now deleted."""
        if self._catalog.of_storage(name) is None:
            self._store.discard_all(name)

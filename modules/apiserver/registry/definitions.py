"""The CRDs in the store, and the custom resources that they make served."""

from __future__ import annotations

from typing import Final

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.kinds import crdrules, customresources
from modules.apiserver.meta.objects import Entry, Json, Key
from modules.apiserver.meta.status import Cause
from modules.apiserver.storage.store import Store

CRDS: Final = "customresourcedefinitions.apiextensions.k8s.io"


class Definitions:
    """Keeps the catalog in step with the CRDs."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    def load(self) -> None:
        """Serve what the stored CRDs define; one that cannot be used keeps no other back."""
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
        """Return the names of a CRD that are those of a built-in resource."""
        return crdrules.claims(crd, self._catalog)

    def prepare(self, key: Key, custom: Resource) -> None:
        """Make way for a new CRD.

        Versions that left the objects of a deleted CRD in the file must not see them come back;
        those of a CRD that is aside do, when it is created anew.
        """
        if not self._store.aside.has(CRDS, key):
            self._store.discard_all(custom.storage)

    def serve(self, custom: Resource) -> None:
        """Serve a custom resource, in place of what its CRD said before."""
        self._catalog.remove(custom.storage)
        self._catalog.add(custom)
        self._store.load(self._catalog)

    def discard(self, name: str) -> None:
        """Delete the objects of a CRD that was aside and is now deleted."""
        if self._catalog.of_storage(name) is None:
            self._store.discard_all(name)

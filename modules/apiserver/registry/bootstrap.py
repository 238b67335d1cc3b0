"""The objects that a cluster has from its first start: namespaces, and KubeEdge's CRDs."""

from __future__ import annotations

from typing import Final

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.registry.registry import Registry
from modules.apiserver.storage.store import Store
from modules.common.crds import manifests

NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system", "kubeedge")

#: The only version of devices in the CRDs of versions up to 0.1.0.
_FORMER_VERSION: Final = "v1alpha1"


def open_cluster(store: Store, catalog: Catalog, root_ca: str) -> Registry:
    """Return the registry of a store that has these objects; the arguments are Registry's.

    What is missing is created; what is there stays as it is, except for versions of CRDs.
    """
    registry = Registry(store, catalog, root_ca)
    namespaces = registry.catalog.find("", "v1", "namespaces")
    for name in NAMESPACES:
        _ensure(registry, namespaces, {"metadata": {"name": name}})
    registry.namespace_objects.ensure_all()
    crds = registry.catalog.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    for name in (*manifests.NAMES, *manifests.SYNCS):
        _ensure(registry, crds, manifests.load(name))
    for name in manifests.NAMES:
        _ensure_versions(registry, crds, manifests.load(name))
    return registry


def _ensure(registry: Registry, resource: Resource, obj: Json) -> None:
    key = ("", obj["metadata"]["name"])
    stored = registry.store.collection(resource.storage).entries
    if key not in stored and not registry.store.aside.has(resource.storage, key):
        registry.create(resource, "", {**obj, "metadata": dict(obj["metadata"])})


def _ensure_versions(registry: Registry, crds: Resource, obj: Json) -> None:
    """Have a CRD of an earlier cloudcore serve today's versions too; others are left alone."""
    name = obj["metadata"]["name"]
    entry = registry.store.collection(crds.storage).entries.get(("", name))
    versions = dig(entry.decode(), "spec", "versions") if entry else None
    if not versions or [each.get("name") for each in versions] != [_FORMER_VERSION]:
        return
    (former,) = versions
    spec = obj["spec"]
    for each in spec["versions"]:
        if each["name"] == _FORMER_VERSION and "subresources" not in former:
            each.pop("subresources", None)
    registry.modify(crds, "", name, lambda found: {**found, "spec": spec})

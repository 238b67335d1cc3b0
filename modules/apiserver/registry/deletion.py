"""Deletion: grace periods, finalizers, and the contents of a namespace or a CRD."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.kinds.pods import GRACE_SECONDS
from modules.apiserver.meta.objects import Entry, Json, Key
from modules.apiserver.meta.status import conflict, forbidden
from modules.apiserver.storage.transaction import Transaction
from modules.common.times import format_time

# The longest grace period that is added to a date; the requested seconds are stored unchanged.
_LONGEST_SHOWN = 100 * 365 * 24 * 3600
#: Up to this many objects are deleted in the same transaction as their namespace or CRD.
AT_ONCE = 100
#: The finalizer (of Kubernetes) that keeps a CRD with more of them until they are gone.
CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_PERMANENT = ("default", "kube-public", "kube-system")


@dataclass(frozen=True)
class Options:
    """The supported fields of DeleteOptions."""

    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False

    @property
    def conditional(self) -> bool:
        return bool(self.uid or self.resource_version)


def is_due(obj: Json) -> bool:
    """Whether an object that is marked as deleted can be removed."""
    metadata = obj["metadata"]
    return (
        "deletionTimestamp" in metadata
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        # A namespace waits for its contents: see finish_namespace.
        and obj["kind"] != "Namespace"
    )


def delete(
    transaction: Transaction,
    catalog: Catalog,
    resource: Resource,
    before: Entry,
    options: Options,
) -> tuple[Entry, bool]:
    """Delete or mark the object; return its last state and whether it is gone.

    Raises ApiError: 409 if a precondition does not hold, 403 for a permanent namespace.
    """
    obj = before.decode()
    _check_preconditions(resource, obj, options)
    if resource.storage == "namespaces":
        return _delete_namespace(transaction, catalog, resource, before.key, obj)
    grace = _grace_seconds(resource, obj, options.grace_seconds)
    metadata = obj["metadata"]
    if resource.kind == "CustomResourceDefinition" and _has_many_instances(transaction, obj):
        finalizers = metadata.get("finalizers") or []
        metadata["finalizers"] = [*finalizers, *{CLEANUP_FINALIZER}.difference(finalizers)]
    if grace == 0 and not metadata.get("finalizers"):
        return remove(transaction, catalog, resource, before.key, obj), True
    if "deletionTimestamp" in metadata and grace >= metadata["deletionGracePeriodSeconds"]:
        return before, False
    _mark(obj, grace)
    return transaction.put(resource, before.key, obj), False


def remove(
    transaction: Transaction, catalog: Catalog, resource: Resource, key: Key, obj: Json
) -> Entry:
    """Remove the object, the instances of a CRD, and a namespace that waited for it to be gone."""
    entry = transaction.remove(resource, key, obj)
    if resource.kind == "CustomResourceDefinition":
        _remove_instances(transaction, catalog, obj)
    if key[0]:
        finish_namespace(transaction, catalog, key[0])
    return entry


def finish_namespace(transaction: Transaction, catalog: Catalog, name: str) -> None:
    """Remove a terminating namespace if it is empty."""
    entry = transaction.get("namespaces", ("", name))
    if entry is None or entry.fields.get("status.phase") != "Terminating":
        return
    if any(transaction.count(item.storage, name) for item in namespaced(catalog)):
        return
    namespace = entry.decode()
    if not namespace["metadata"].get("finalizers"):
        transaction.remove(catalog.find("", "v1", "namespaces"), entry.key, namespace)


def _check_preconditions(resource: Resource, obj: Json, options: Options) -> None:
    metadata = obj["metadata"]
    for name, wanted, found in (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    ):
        if wanted and wanted != found:
            raise conflict(
                resource.plural,
                resource.group,
                metadata["name"],
                f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: "
                f"{found}",
            )


def _grace_seconds(resource: Resource, obj: Json, asked: int | None) -> int:
    """Only pods have a grace period: the edge stops them, and then deletes them with grace 0."""
    if resource.storage != "pods":
        return 0
    spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return max(asked, 0)
    seconds = spec.get("terminationGracePeriodSeconds")
    # Pods stored by earlier versions may have anything there.
    if not isinstance(seconds, int):
        return GRACE_SECONDS
    return seconds if seconds >= 0 else 1  # as in Kubernetes


def _mark(obj: Json, grace: int) -> None:
    metadata = obj["metadata"]
    due = datetime.now(UTC) + timedelta(seconds=min(grace, _LONGEST_SHOWN))
    metadata["deletionTimestamp"] = format_time(due)
    metadata["deletionGracePeriodSeconds"] = grace
    if "generation" in metadata:
        metadata["generation"] += 1


def _delete_namespace(
    transaction: Transaction, catalog: Catalog, resource: Resource, key: Key, obj: Json
) -> tuple[Entry, bool]:
    name = obj["metadata"]["name"]
    if name in _PERMANENT:
        raise forbidden("namespaces", "", name, "this namespace may not be deleted")
    if "deletionTimestamp" not in obj["metadata"]:
        _mark(obj, 0)
    obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    obj["spec"] = {**(obj.get("spec") or {}), "finalizers": []}
    entry = transaction.put(resource, key, obj)
    contents = (
        (item, content)
        for item in namespaced(catalog)
        for content in transaction.entries(item.storage, name)
    )
    # The cascade deletes the rest in turns: see cascade.py.
    for item, content in itertools.islice(contents, AT_ONCE):
        delete(transaction, catalog, item, content, Options())
    finish_namespace(transaction, catalog, name)
    return entry, transaction.get(resource.storage, key) is None


def _has_many_instances(transaction: Transaction, crd: Json) -> bool:
    found = transaction.entries(crd["metadata"]["name"])
    return any(True for _ in itertools.islice(found, AT_ONCE, None))


def _remove_instances(transaction: Transaction, catalog: Catalog, crd: Json) -> None:
    resource = catalog.of_storage(crd["metadata"]["name"])
    if resource is None or not resource.custom:
        return
    for entry in list(transaction.entries(resource.storage)):
        transaction.remove(resource, entry.key, entry.decode())


def namespaced(catalog: Catalog) -> list[Resource]:
    return [resource for resource in catalog.stored() if resource.namespaced]

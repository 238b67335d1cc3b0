"""Create, read, update and delete by the rules of Kubernetes: the server without HTTP.

Every operation is one transaction of the store without an await, so operations are isolated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modules.apiserver.catalog import Catalog, Find, Resource
from modules.apiserver.kinds import customresources
from modules.apiserver.meta.objects import MOST_BYTES, Entry, Json, Key, make_entry
from modules.apiserver.meta.selectors import Selector
from modules.apiserver.meta.status import (
    ApiError,
    Cause,
    already_exists,
    bad_request,
    forbidden,
    invalid,
    invalid_value,
    no_such_path,
    not_found,
)
from modules.apiserver.meta.users import User
from modules.apiserver.registry import deletion, metadata
from modules.apiserver.registry.definitions import CRDS, Definitions
from modules.apiserver.registry.namespace_objects import NamespaceObjects
from modules.apiserver.storage.store import Store
from modules.apiserver.storage.transaction import Transaction


@dataclass(frozen=True)
class Deleted:
    """The result of a deletion: the object is `gone`, or only marked with a deletionTimestamp."""

    entry: Entry
    gone: bool


class Registry:
    """All objects of the served kinds, and the operations on them."""

    def __init__(self, store: Store, catalog: Catalog, root_ca: str) -> None:
        """Read the store, and serve its CRDs.

        `root_ca` is the certificate of this server's CA in PEM, for ConfigMaps that pods mount.
        """
        self.store = store
        self.catalog = catalog
        store.load(catalog)
        self._definitions = Definitions(store, catalog)
        self._definitions.load()
        self.namespace_objects = NamespaceObjects(store, catalog, root_ca)

    def get(self, resource: Resource, namespace: str, name: str) -> Entry:
        """Return an object; raises ApiError (404) if there is none."""
        entry = self.store.collection(resource.storage).entries.get(_key(namespace, name))
        if entry is None:
            raise not_found(resource.plural, resource.group, name)
        return entry

    async def list(self, resource: Resource, namespace: str, selector: Selector) -> list[Entry]:
        """Return the objects that match at the call, sorted; `namespace` "" means all."""
        return await self.store.collection(resource.storage).select(namespace, selector)

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Any,
        *,
        user: User | None = None,
        dry_run: bool = False,
    ) -> Entry:
        """Store a new object; `user` is who creates it, None for this server itself."""
        obj = _begun(resource, namespace, body, user)
        with self.store.transaction(dry_run=dry_run) as transaction:
            self._check_namespace(transaction, resource, obj)
            _complete(transaction, resource, namespace, obj)
            self._validate(resource, obj)
            key = _key(namespace, obj["metadata"]["name"])
            if transaction.get(resource.storage, key) is not None:
                raise already_exists(resource.plural, resource.group, key[1])
            entry = _put(transaction, resource, key, obj)
            if resource.storage == "namespaces":
                self.namespace_objects.ensure(transaction, key[1])
            custom = _defined(resource, obj)
            if custom is not None and not dry_run:
                self._definitions.prepare(key, custom)
        if custom is not None and not dry_run:
            self._definitions.serve(custom)
        return entry

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Any,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Entry:
        """Replace the object (PUT)."""
        new = metadata.adopt(body, resource, namespace)
        if resource.custom and not new["metadata"].get("resourceVersion"):
            fault = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(resource.kind, resource.group, name, [fault])
        return self.modify(
            resource,
            namespace,
            name,
            lambda _: new,
            replaces=True,
            subresource=subresource,
            dry_run=dry_run,
        )

    def modify(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Json], Json],
        *,
        replaces: bool = False,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Entry:
        """Store the result of `change` (PUT, PATCH), unless it is equal to the stored object."""
        if subresource and not resource.has_part(subresource):
            raise no_such_path()
        before = self.get(resource, namespace, name)
        old = resource.decode(before)
        new = metadata.adopt(change(resource.decode(before)), resource, namespace)
        metadata.carry_over(new, old, resource, replaces=replaces)
        with _of_the_right_types(resource):
            if resource.merge is not None:
                new = resource.merge(new, old, subresource)
            else:
                new = _merge_subresource(resource, new, old, subresource)
            resource.defaults(new)
            faults = []
            if not subresource or resource.merge is not None:
                faults = resource.validate_update(new, old)
        if faults:
            raise invalid(resource.kind, resource.group, name, faults)
        self._validate(resource, new, old)
        if new == old:
            return before
        if "generation" in old["metadata"] and _essence(resource, new) != _essence(resource, old):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        with self.store.transaction(dry_run=dry_run) as transaction:
            if deletion.is_due(new):
                entry = deletion.remove(transaction, self.catalog, resource, before.key, new)
            else:
                entry = _put(transaction, resource, before.key, new)
            custom = _defined(resource, new)
            if resource.storage == "namespaces":
                deletion.finish_namespace(transaction, self.catalog, name)
        if custom is not None and not dry_run:
            if deletion.is_due(new):
                self.catalog.remove(name)
            else:
                self._definitions.serve(custom)
        return entry

    def delete(
        self, resource: Resource, namespace: str, name: str, options: deletion.Options
    ) -> Deleted:
        key = _key(namespace, name)
        if self.store.aside.has(resource.storage, key) and not options.conditional:
            return self._discard(resource, key, dry_run=options.dry_run)
        before = self.get(resource, namespace, name)
        with self.store.transaction(dry_run=options.dry_run) as transaction:
            entry, gone = deletion.delete(transaction, self.catalog, resource, before, options)
        if gone and not options.dry_run and resource.storage == CRDS:
            self.catalog.remove(name)
        return Deleted(entry, gone)

    def _discard(self, resource: Resource, key: Key, *, dry_run: bool) -> Deleted:
        """Delete an object that was set aside; for a CRD, its objects too."""
        if not dry_run:
            self.store.discard(resource.storage, key)
            if resource.storage == CRDS:
                self._definitions.discard(key[1])
        metadata = {"name": key[1], "namespace": key[0], "uid": ""}
        stub = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return Deleted(make_entry(key, self.store.revision, stub, {}), gone=True)

    def bind(self, namespace: str, name: str, node: str, *, dry_run: bool = False) -> Entry:
        """Assign a pod to a node, as a scheduler does (POST pods/NAME/binding)."""
        pods = self.catalog.find("", "v1", "pods")
        before = self.get(pods, namespace, name)
        pod = before.decode()
        if pod["spec"].get("nodeName"):
            raise ApiError(
                409, "Conflict", f"pod {name} is already assigned to node {pod['spec']['nodeName']}"
            )
        pod["spec"]["nodeName"] = node
        with self.store.transaction(dry_run=dry_run) as transaction:
            return _put(transaction, pods, before.key, pod)

    def _validate(self, resource: Resource, obj: Json, old: Json | None = None) -> None:
        """Raise ApiError (422) for faults, except those that the stored object has too.

        Validation becomes stricter from version to version; stored objects can still be changed
        and deleted (ratcheting validation).
        """
        with _of_the_right_types(resource):
            faults = self._faults(resource, obj)
        if faults and old is not None:
            known = {cause.text() for cause in self._faults(resource, old)}
            faults = [cause for cause in faults if cause.text() not in known]
        if faults:
            name = str(obj["metadata"].get("name", ""))
            raise invalid(resource.kind, resource.group, name, faults)

    def _faults(self, resource: Resource, obj: Json) -> Sequence[Cause]:
        faults = metadata.validate(obj["metadata"]) + resource.validate(obj)
        if resource.storage == CRDS and not faults:
            faults = self._definitions.claims(obj)
        return faults

    def _check_namespace(self, transaction: Transaction, resource: Resource, obj: Json) -> None:
        if not resource.namespaced:
            return
        name = obj["metadata"]["namespace"]
        entry = transaction.get("namespaces", ("", name))
        if entry is None:
            raise not_found("namespaces", "", name)
        if entry.fields.get("status.phase") == "Terminating":
            raise forbidden(
                resource.plural,
                resource.group,
                str(obj["metadata"].get("name", "")),
                f"unable to create new content in namespace {name} because it is being terminated",
            )


def _begun(resource: Resource, namespace: str, body: Any, user: User | None) -> Json:
    """Return a new object as a request has it, with what each object of its kind begins with."""
    obj = metadata.adopt(body, resource, namespace)
    metadata.start(obj["metadata"])
    if not resource.status_on_create and resource.status:
        obj.pop("status", None)
    if resource.initial_status is not None:
        obj["status"] = dict(resource.initial_status)
    with _of_the_right_types(resource):
        if resource.requested_by is not None and user is not None:
            resource.requested_by(obj, user)
        resource.defaults(obj)
    if "spec" in obj:
        obj["metadata"]["generation"] = 1
    return obj


def _complete(transaction: Transaction, resource: Resource, namespace: str, obj: Json) -> None:
    """Add to a new object what depends on others; raises ApiError if it may not be."""
    with _of_the_right_types(resource):
        if resource.complete is not None:
            resource.complete(obj, transaction.entries(resource.storage))
        if resource.admit is not None:
            resource.admit(obj, _finder(transaction, namespace))


@contextmanager
def _of_the_right_types(resource: Resource) -> Iterator[None]:
    """Raise ApiError (400) if a rule fails because a field has an unexpected type."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise bad_request(
            f"{resource.kind} in version {resource.api_version} cannot be handled, since one of "
            f"its fields has the wrong type: {error}"
        ) from error


def _key(namespace: str, name: str) -> Key:
    return (namespace, name)


def _finder(transaction: Transaction, namespace: str) -> Find:
    def find(plural: str, name: str) -> Json | None:
        entry = transaction.get(plural, (namespace, name))
        return None if entry is None else entry.decode()

    return find


def _defined(resource: Resource, obj: Json) -> Resource | None:
    """Return the resource that a CRD defines; raises ApiError (400) if it defines none."""
    if resource.storage != CRDS:
        return None
    with _of_the_right_types(resource):
        return customresources.resource_of(obj)


def _put(transaction: Transaction, resource: Resource, key: Key, obj: Json) -> Entry:
    """Stage `obj`; raises ApiError (413) if a patch has made it larger than a request can be."""
    if resource.stored_as:
        obj = {**obj, "apiVersion": resource.stored_as}
    entry = transaction.put(resource, key, obj)
    if len(entry.raw) > MOST_BYTES:
        text = f"{resource.kind} {key[1]} would have {len(entry.raw)} bytes, {MOST_BYTES} at most"
        raise ApiError(413, "RequestEntityTooLarge", text)
    return entry


def _merge_subresource(resource: Resource, new: Json, old: Json, subresource: str) -> Json:
    """Merge the part of `new` that the subresource may change into `old`."""
    if subresource == "status":
        # Kubelets set labels and annotations of built-in kinds with the status.
        merged = {**old, "metadata": old["metadata"] if resource.custom else new["metadata"]}
        changed: Json = new
    elif resource.status:
        merged, changed = new, old
    else:
        return new
    merged.pop("status", None)
    if "status" in changed:
        merged["status"] = changed["status"]
    return merged


def _essence(resource: Resource, obj: Json) -> Json:
    """Return the part of an object whose changes increment the generation."""
    apart = ("metadata", "status") if resource.status else ("metadata",)
    return {key: value for key, value in obj.items() if key not in apart}

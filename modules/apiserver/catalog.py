"""The catalog of resources: the one table behind paths, discovery, validation and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from modules.apiserver.columns import AGE, NAME, Column
from modules.apiserver.meta.objects import Entry, Json, dig
from modules.apiserver.meta.status import Cause, no_such_path
from modules.apiserver.meta.users import User

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
ALWAYS_SELECTABLE = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
}


#: Returns an object of a namespace by the plural of its kind and its name, None if there is none.
Find = Callable[[str, str], Json | None]


def no_defaults(_: Json) -> None:
    """Leave the object unchanged: the kind has no defaults."""


def nothing_wrong(_: Json) -> list[Cause]:
    return []


def any_change(_new: Json, _old: Json) -> list[Cause]:
    return []


@dataclass(frozen=True)
class Subresource:
    """A subresource other than `status`; `kind` is that of its body, "" for the object's."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    # If they are others than those of the resource.
    group: str = ""
    version: str = ""


@dataclass(frozen=True)
class Resource:
    """A kind of object and its rules.

    `status`: the kind has a status subresource; a write to it changes only the status, a write to
    the object everything else. `status_on_create`: a create request may set the status, as kubelets
    do when they register a node. `virtual`: requests are answered, nothing is stored. `served`:
    false for a CRD whose version is not served; its objects are kept, and deleted with it.
    `other_versions`: those of a CRD besides the one in which its objects are stored; `stored_as` is
    that one's apiVersion in them. There is no conversion but that of the apiVersion.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    status_on_create: bool = False
    custom: bool = False
    virtual: bool = False
    served: bool = True
    subresources: tuple[Subresource, ...] = ()
    columns: Sequence[Column] = (NAME, AGE)
    selectable: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Field path of a list -> merge key of its items; see patch/strategic.py.
    merge_keys: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    initial_status: Json | None = None
    defaults: Callable[[Json], None] = no_defaults
    # Defaults that depend on the other objects of the kind; called on creation.
    complete: Callable[[Json, Iterable[Entry]], None] | None = None
    # Checks and defaults that depend on other objects of the namespace; called on creation.
    admit: Callable[[Json, Find], None] | None = None
    # Records who creates an object in it.
    requested_by: Callable[[Json, User], None] | None = None
    # What an update stores, if the (sub)resources divide an object in another way than `status`.
    merge: Callable[[Json, Json, str], Json] | None = None
    validate: Callable[[Json], list[Cause]] = nothing_wrong
    validate_update: Callable[[Json, Json], list[Cause]] = any_change
    schema: Json | None = None
    other_versions: tuple[Resource, ...] = ()
    stored_as: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def storage(self) -> str:
        """The name under which its objects are stored, the same for all versions."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def _head(self) -> bytes:
        """The bytes with which a stored object of this version begins (see metadata.adopt)."""
        return b'{"kind":"%b","apiVersion":"%b"' % (self.kind.encode(), self.api_version.encode())

    def raw(self, entry: Entry) -> bytes:
        """Return a stored object in this version."""
        if not self.custom or entry.raw.startswith(self._head):
            return entry.raw
        start = self._head.index(b'","apiVersion":"') + len(b'","apiVersion":"')
        if entry.raw[:start] != self._head[:start]:
            return entry.raw
        return self._head + entry.raw[entry.raw.index(b'"', start) + 1 :]

    def decode(self, entry: Entry) -> Json:
        """Return a stored object in this version, as a new dict, which the caller may change."""
        obj = entry.decode()
        if self.custom:
            obj["apiVersion"] = self.api_version
        return obj

    @property
    def base_path(self) -> str:
        return f"apis/{self.api_version}" if self.group else f"api/{self.version}"

    def has_part(self, subresource: str) -> bool:
        """Whether a part of the object can be read and updated under this name."""
        if subresource == "status":
            return self.status
        return any(
            item.name == subresource and "update" in item.verbs for item in self.subresources
        )

    @property
    def selectable_fields(self) -> frozenset[str]:
        return frozenset({*ALWAYS_SELECTABLE, *self.selectable})

    def select(self, obj: Json) -> dict[str, str]:
        """Return the values of the fields that field selectors can use."""
        paths = {**ALWAYS_SELECTABLE, **self.selectable}
        found = ((name, dig(obj, *path)) for name, path in paths.items())
        return {name: _field_text(value) for name, value in found if value is not None}


class Catalog:
    """The served resources: the built-in ones and those that CRDs define."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        for each in (resource, *resource.other_versions):
            self._resources[each.group, each.version, each.plural] = each

    def remove(self, storage: str) -> None:
        """Stop serving the custom resource that is stored as `storage`."""
        self._resources = {
            key: value
            for key, value in self._resources.items()
            if not (value.custom and value.storage == storage)
        }

    def find(self, group: str, version: str, plural: str) -> Resource:
        """Return a served resource; raises ApiError (404) if there is none."""
        resource = self._resources.get((group, version, plural))
        if resource is None or not resource.served:
            raise no_such_path()
        return resource

    def of_storage(self, storage: str) -> Resource | None:
        return next((item for item in self.stored() if item.storage == storage), None)

    def __iter__(self) -> Iterator[Resource]:
        return (resource for resource in self._resources.values() if resource.served)

    def stored(self) -> Iterator[Resource]:
        """Yield the resources that may have stored objects, served or not."""
        return (
            resource
            for resource in self._resources.values()
            if not (resource.virtual or resource.stored_as)
        )

    def groups(self) -> dict[str, list[str]]:
        """Return the named groups with their versions, in order."""
        found: dict[str, list[str]] = {}
        for resource in self:
            if resource.group and resource.version not in found.setdefault(resource.group, []):
                found[resource.group].append(resource.version)
        return found


def _field_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

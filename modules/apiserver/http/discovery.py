"""Discovery documents: /api, /apis and below, /version."""

from __future__ import annotations

import platform

from modules.apiserver.catalog import VERBS, Catalog, Resource, Subresource
from modules.apiserver.meta.objects import Json
from modules.apiserver.meta.status import no_such_path

# The release whose API is served; kubectl warns if it is more than one minor version away.
MAJOR, MINOR = "1", "36"
STATUS = Subresource("status", "", ("get", "patch", "update"))
GIT_VERSION = f"v{MAJOR}.{MINOR}.0+cloudcore"


def version() -> Json:
    """Return version.Info."""
    return {
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system()}/{platform.machine()}".lower(),
    }


def core_versions() -> Json:
    """Return /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups(catalog: Catalog) -> Json:
    """Return /apis."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name, versions) for name, versions in catalog.groups().items()],
    }


def group(catalog: Catalog, name: str) -> Json:
    """Return /apis/NAME."""
    versions = catalog.groups().get(name)
    if versions is None:
        raise no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _group(name: str, versions: list[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resources(catalog: Catalog, group_name: str, version_name: str) -> Json:
    """Return /api/v1 or /apis/GROUP/VERSION."""
    served = [
        resource
        for resource in catalog
        if (resource.group, resource.version) == (group_name, version_name)
    ]
    if not served:
        raise no_such_path()
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": [item for resource in served for item in _entries(resource)],
    }


def _entries(resource: Resource) -> list[Json]:
    main: Json = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": ["create"] if resource.virtual else list(VERBS),
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    entries = [main]
    if resource.status:
        entries.append(_subresource(resource, STATUS))
    entries += [_subresource(resource, item) for item in resource.subresources]
    return entries


def _subresource(resource: Resource, subresource: Subresource) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{subresource.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": subresource.kind or resource.kind,
        "verbs": list(subresource.verbs),
    }
    if subresource.group:
        entry |= {"group": subresource.group, "version": subresource.version}
    return entry

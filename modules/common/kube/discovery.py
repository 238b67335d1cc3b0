"""API discovery: the served versions of a resource. Every authenticated user may read it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from modules.common.kube.client import KubeClient
from modules.common.kube.errors import NotFound
from modules.common.kube.kinds import Resource

Answer = TypeVar("Answer", bound=msgspec.Struct)


class _Version(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    """The fields of metav1.APIGroup that are used."""

    versions: list[_Version]


class _Name(msgspec.Struct):
    name: str


class _Resources(msgspec.Struct):
    """The fields of metav1.APIResourceList that are used."""

    resources: list[_Name]


async def served_versions(client: KubeClient, resource: Resource) -> list[str]:
    """Return the versions in which the API server serves a resource of a named group."""
    served = await served_resources(client, resource.group)
    return [version for version, plurals in served.items() if resource.plural in plurals]


async def served_resources(client: KubeClient, group: str) -> dict[str, set[str]]:
    """Return the plurals of the resources that the API server serves of a group, by version."""
    found = await _read(client, f"/apis/{group}", _Group)
    served = {}
    for version in [each.version for each in found.versions] if found else []:
        resources = await _read(client, f"/apis/{group}/{version}", _Resources)
        served[version] = {each.name for each in resources.resources} if resources else set()
    return served


async def _read(client: KubeClient, path: str, shape: type[Answer]) -> Answer | None:
    try:
        return await client.read(path, shape)
    except NotFound:
        return None

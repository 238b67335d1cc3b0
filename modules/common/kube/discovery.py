"""What the API server serves, asked of its discovery paths: all who are authenticated may."""

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
    """The part of metav1.APIGroup that is looked at."""

    versions: list[_Version]


class _Name(msgspec.Struct):
    name: str


class _Resources(msgspec.Struct):
    """The part of metav1.APIResourceList that is looked at."""

    resources: list[_Name]


async def served_versions(client: KubeClient, resource: Resource) -> list[str]:
    """Name the versions in which the API server serves a resource of a named group."""
    group = await _read(client, f"/apis/{resource.group}", _Group)
    served = []
    for version in [each.version for each in group.versions] if group else []:
        path = f"/apis/{resource.group}/{version}"
        found = await _read(client, path, _Resources)
        if found and resource.plural in [each.name for each in found.resources]:
            served.append(version)
    return served


async def _read(client: KubeClient, path: str, shape: type[Answer]) -> Answer | None:
    try:
        return await client.read(path, shape)
    except NotFound:
        return None

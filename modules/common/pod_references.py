"""The configmaps and secrets of a pod (manager/location.go, and those that it omits)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modules.common.kube import Object, is_name
from modules.common.sync.journal import Item

#: The types of what a pod refers to, in the resource of a message.
CONFIGMAP: Final = "configmap"
SECRET: Final = "secret"  # noqa: S105 - a type

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_SECRET_REFS = ("secretRef", "nodePublishSecretRef")


def references(pod: Object) -> frozenset[Item]:
    """Return the configmaps and secrets a pod needs to run: all are in its own namespace.

    Named in volumes of any kind (projected ones too), in the environment of any container, by
    `envFrom` or key by key, and as image pull secrets. Invalid names are omitted.
    """
    namespace = pod["metadata"]["namespace"]
    named = _named(pod.get("spec") or {})
    return frozenset((type_, namespace, name) for type_, name in named if name and is_name(name))


def _named(spec: Object) -> Iterator[tuple[str, str | None]]:
    for volume in spec.get("volumes") or ():
        yield from _in_volume(volume)
    for kind in _CONTAINERS:
        for container in spec.get(kind) or ():
            yield from _in_container(container)
    for secret in spec.get("imagePullSecrets") or ():
        yield SECRET, secret.get("name")


def _in_volume(volume: Object) -> Iterator[tuple[str, str | None]]:
    for kind, source in volume.items():
        if not isinstance(source, dict):
            continue
        if kind == "configMap":
            yield CONFIGMAP, source.get("name")
        elif kind == "projected":
            for projection in source.get("sources") or ():
                yield from _pair(projection, "configMap", "secret")
        yield SECRET, source.get("secretName")  # secret, azureFile
        for reference in _SECRET_REFS:  # csi, cephfs, rbd, iscsi and other drivers
            yield SECRET, _name(source, reference)


def _in_container(container: Object) -> Iterator[tuple[str, str | None]]:
    for source in container.get("envFrom") or ():
        yield from _pair(source, "configMapRef", "secretRef")
    for variable in container.get("env") or ():
        yield from _pair(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")


def _pair(source: Object, configmap: str, secret: str) -> Iterator[tuple[str, str | None]]:
    yield CONFIGMAP, _name(source, configmap)
    yield SECRET, _name(source, secret)


def _name(source: dict[str, Any], field: str) -> str | None:
    name: str | None = (source.get(field) or {}).get("name")
    return name

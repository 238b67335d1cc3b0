"""The configmaps and secrets that a pod needs before its containers can start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def references(pod: dict[str, Any]) -> list[str]:
    """Return the keys (`{namespace}/configmap/{name}`, `…/secret/…`) that the pod requires.

    Optional references are left out, as kubelet does not wait for them.
    """
    spec = pod.get("spec") or {}
    namespace = pod["metadata"].get("namespace", "default")
    found = (f"{namespace}/{kind}/{name}" for kind, name in _all(spec) if name)
    return list(dict.fromkeys(found))


def _all(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)
    for field in _CONTAINERS:
        for container in spec.get(field) or ():
            yield from _of_container(container)
    for reference in spec.get("imagePullSecrets") or ():
        yield "secret", reference.get("name", "")


def _of_volume(volume: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _reference("configmap", volume.get("configMap"))
    yield from _reference("secret", volume.get("secret"), "secretName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _reference("configmap", source.get("configMap"))
        yield from _reference("secret", source.get("secret"))


def _of_container(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield from _reference("configmap", source.get("configMapRef"))
        yield from _reference("secret", source.get("secretRef"))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield from _reference("configmap", source.get("configMapKeyRef"))
        yield from _reference("secret", source.get("secretKeyRef"))


def _reference(
    kind: str, source: dict[str, Any] | None, field: str = "name"
) -> Iterator[tuple[str, str]]:
    if source and not source.get("optional"):
        yield kind, source.get(field, "")

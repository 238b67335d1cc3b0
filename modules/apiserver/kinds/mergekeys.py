"""The merge keys of lists for strategic merge patches.

They come from the `patchStrategy` and `patchMergeKey` tags of k8s.io/api/core/v1/types.go. A list
that is not named here is replaced as a whole. An empty key means that the list has plain values
and is merged as a set. `$retainKeys` needs no table: the patch contains it.
"""

from __future__ import annotations

from collections.abc import Mapping

Paths = Mapping[tuple[str, ...], str]

_METADATA = {"metadata.ownerReferences": "uid", "metadata.finalizers": ""}
_CONTAINER = {
    "": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "resources.claims": "name",
}


def _containers(field: str) -> dict[str, str]:
    return {f"{field}.{path}".rstrip("."): key for path, key in _CONTAINER.items()}


def _paths(table: Mapping[str, str]) -> Paths:
    return {tuple(path.split(".")): key for path, key in table.items()}


# `conditions` are merged by type in every kind.
COMMON = _paths({**_METADATA, "status.conditions": "type"})

MERGE_KEYS: Mapping[str, Paths] = {
    "pods": _paths(
        {
            **_containers("spec.containers"),
            **_containers("spec.initContainers"),
            **_containers("spec.ephemeralContainers"),
            "spec.volumes": "name",
            "spec.imagePullSecrets": "name",
            "spec.hostAliases": "ip",
            "spec.topologySpreadConstraints": "topologyKey",
            "spec.resourceClaims": "name",
            "spec.schedulingGates": "name",
            "status.podIPs": "ip",
            "status.hostIPs": "ip",
        }
    ),
    "nodes": _paths({"spec.podCIDRs": "", "status.addresses": "type"}),
    "services": _paths({"spec.ports": "port"}),
    "csinodes": _paths({"spec.drivers": "name"}),
    "serviceaccounts": _paths({"secrets": "name", "imagePullSecrets": "name"}),
}

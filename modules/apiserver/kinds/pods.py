"""Defaults and validation of pods.

Defaults follow k8s.io/kubernetes/pkg/apis/core/v1/defaults.go: the edge gets the pod as it is
stored, and its kubelet relies on them.
"""

from __future__ import annotations

from typing import Any

from modules.apiserver.meta import field_types
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import (
    Cause,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)

GRACE_SECONDS = 30
#: The annotation of a pod that a node has started from a file.
MIRROR = "kubernetes.io/config.mirror"
_RESTART_POLICIES = ["Always", "OnFailure", "Never"]
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_VOLUMES_WITH_MODE = ("secret", "configMap", "downwardAPI", "projected")
_UPDATABLE = (
    "spec.containers[*].image, spec.initContainers[*].image, spec.activeDeadlineSeconds, "
    "spec.tolerations (only additions), spec.terminationGracePeriodSeconds"
)


def defaults(pod: Json) -> None:
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", GRACE_SECONDS)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("securityContext", {})
    if "serviceAccount" in spec:
        spec.setdefault("serviceAccountName", spec["serviceAccount"])
    for field in ("initContainers", "containers"):
        for container in _maps(spec.get(field)):
            _container_defaults(container, host_network=bool(spec.get("hostNetwork")))
    for volume in _maps(spec.get("volumes")):
        _volume_defaults(volume)
    status = pod.get("status")
    if isinstance(status, dict):
        status.setdefault("qosClass", qos_class(spec))


def _container_defaults(container: Json, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(str(container.get("image", ""))))
    resources = container.setdefault("resources", {})
    if isinstance(resources, dict) and resources.get("limits"):
        requests = resources.setdefault("requests", {})
        for name, limit in resources["limits"].items():
            requests.setdefault(name, limit)
    for port in _maps(container.get("ports")):
        port.setdefault("protocol", "TCP")
        if host_network:
            port.setdefault("hostPort", port.get("containerPort"))
    for variable in _maps(container.get("env")):
        reference = dig(variable, "valueFrom", "fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if isinstance(container.get(name), dict):
            _probe_defaults(container[name])


def _probe_defaults(probe: Json) -> None:
    for field, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        probe.setdefault(field, value)
    if isinstance(probe.get("httpGet"), dict):
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")


def _volume_defaults(volume: Json) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for name in _VOLUMES_WITH_MODE:
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", 0o644)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    for source in _maps(dig(volume, "projected", "sources")):
        if isinstance(source.get("serviceAccountToken"), dict):
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    latest = "@" not in name and (":" not in name or name.endswith(":latest"))
    return "Always" if latest else "IfNotPresent"


def qos_class(spec: Json) -> str:
    """Return Guaranteed, Burstable or BestEffort (pkg/apis/core/helper/qos)."""
    containers = _maps(spec.get("containers")) + _maps(spec.get("initContainers"))
    if not any(dig(item, "resources", "requests") for item in containers):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(dig(item, "resources", "limits") or ())
        and dig(item, "resources", "limits") == dig(item, "resources", "requests")
        for item in containers
    )
    return "Guaranteed" if guaranteed else "Burstable"


def validate(pod: Json) -> list[Cause]:
    spec = pod.get("spec")
    containers = dig(spec, "containers")
    if not isinstance(spec, dict) or not containers:
        return [required("spec.containers")]
    causes = list(field_types.faults(spec, {"terminationGracePeriodSeconds": "integer"}, "spec"))
    for field in ("initContainers", "containers"):
        for index, container in enumerate(_maps(spec.get(field))):
            causes += [
                required(f"spec.{field}[{index}].{name}")
                for name in ("name", "image")
                if not container.get(name)
            ]
    mirrors = dig(pod, "metadata", "annotations", MIRROR)
    if mirrors is not None and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        causes.append(invalid_value(f"metadata.annotations[{MIRROR}]", mirrors, text))
    if spec.get("restartPolicy") not in _RESTART_POLICIES:
        policy = spec.get("restartPolicy")
        causes.append(not_supported("spec.restartPolicy", policy, _RESTART_POLICIES))
    return causes


def validate_update(new: Json, old: Json) -> list[Cause]:
    """Refuse changes of the immutable fields of a pod."""
    if _fixed(new) == _fixed(old) and _tolerates_all_of(new, old):
        return []
    return [
        forbidden_field("spec", f"pod updates may not change fields other than {_UPDATABLE}"),
    ]


def _fixed(pod: Json) -> Json:
    changeable = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds")
    spec = {key: value for key, value in (pod.get("spec") or {}).items() if key not in changeable}
    for field in ("initContainers", "containers"):
        if isinstance(spec.get(field), list):
            spec[field] = [_without_image(container) for container in spec[field]]
    return spec


def _tolerates_all_of(new: Json, old: Json) -> bool:
    tolerations = dig(new, "spec", "tolerations") or ()
    return all(item in tolerations for item in dig(old, "spec", "tolerations") or ())


def _maps(items: Any) -> list[Json]:
    """Return a list of maps, [] for None; raises TypeError for anything else."""
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TypeError("there must be a list of objects where it has something else")
    return items


def _without_image(container: Any) -> Any:
    if not isinstance(container, dict):
        return container
    return {key: value for key, value in container.items() if key != "image"}

"""Rules of the other core/v1 kinds (k8s.io/kubernetes/pkg/apis/core)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import Cause, forbidden_field, invalid_value, required

#: Bytes of data in a ConfigMap or Secret.
MOST_DATA = 1024 * 1024
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_DATA_KEY_RULE = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_REQUIRED_OF_TYPE = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}


def namespace_defaults(namespace: Json) -> None:
    metadata = namespace["metadata"]
    labels = metadata.get("labels") or {}
    metadata["labels"] = {**labels, "kubernetes.io/metadata.name": metadata.get("name", "")}
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def validate_configmap(configmap: Json) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    for field in ("data", "binaryData"):
        for key, value in _map(configmap, field, causes).items():
            size += len(key) + len(str(value))
            if not _DATA_KEY.fullmatch(key):
                causes.append(invalid_value(f"{field}[{key}]", key, _DATA_KEY_RULE))
            elif not isinstance(value, str):
                causes.append(invalid_value(f"{field}[{key}]", value, "must be a string"))
    if size > MOST_DATA:
        causes.append(invalid_value("", "", f"must have at most {MOST_DATA} bytes"))
    return causes


def secret_defaults(secret: Json) -> None:
    """Move stringData into data; only data is stored."""
    secret.setdefault("type", "Opaque")
    plain = secret.pop("stringData", None)
    if isinstance(plain, dict):
        data = secret.get("data") or {}
        for key, value in plain.items():
            data[key] = base64.b64encode(str(value).encode()).decode()
        secret["data"] = data


def validate_secret(secret: Json) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    data = _map(secret, "data", causes)
    for key, value in data.items():
        try:
            size += len(base64.b64decode(value or "", validate=True))
        except (binascii.Error, TypeError, ValueError):
            # The message does not contain the value: it is a secret.
            causes.append(invalid_value(f"data[{key}]", "<secret>", "must be base64"))
        if not _DATA_KEY.fullmatch(key):
            causes.append(invalid_value(f"data[{key}]", key, _DATA_KEY_RULE))
    needed = _REQUIRED_OF_TYPE.get(secret.get("type", ""), ())
    causes += [required(f"data[{key}]") for key in needed if key not in data]
    if size > MOST_DATA:
        causes.append(invalid_value("data", "", f"must have at most {MOST_DATA} bytes"))
    return causes


def keep_immutable(new: Json, old: Json) -> list[Cause]:
    """Refuse changes of the data of an `immutable` ConfigMap or Secret, and of a Secret's type."""
    causes = []
    if old.get("immutable"):
        causes = [
            forbidden_field(field, "field is immutable when `immutable` is set")
            for field in ("data", "binaryData", "immutable")
            if new.get(field) != old.get(field)
        ]
    if new.get("type") != old.get("type"):
        causes.append(invalid_value("type", new.get("type"), "field is immutable"))
    return causes


def service_defaults(service: Json) -> None:
    spec = service.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or ():
        if isinstance(port, dict):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))


def validate_service(service: Json) -> list[Cause]:
    spec = service.get("spec")
    if not isinstance(spec, dict):
        return [required("spec")]
    if spec.get("type") == "ExternalName":
        return [] if spec.get("externalName") else [required("spec.externalName")]
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None":
        return [required("spec.ports")]
    return [
        invalid_value(f"spec.ports[{index}].port", dig(port, "port"), "must be 1 to 65535")
        for index, port in enumerate(ports)
        if not isinstance(dig(port, "port"), int) or not 1 <= port["port"] <= 65535
    ]


def keep_cluster_ip(new: Json, old: Json) -> list[Cause]:
    before = dig(old, "spec", "clusterIP")
    if dig(new, "spec", "type") == "ExternalName" or before in (None, "", "None"):
        return []
    if dig(new, "spec", "clusterIP") == before:
        return []
    found = dig(new, "spec", "clusterIP")
    return [invalid_value("spec.clusterIPs[0]", found, "may not change once set")]


def _map(obj: Json, field: str, causes: list[Cause]) -> dict[str, Any]:
    value = obj.get(field)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    causes.append(invalid_value(field, value, "must be a map"))
    return {}

"""Makes modules/common/kube/shapes.txt out of lightkube's models: `python -m tests.support.shapes`.

lightkube has them from Kubernetes' OpenAPI, where a map says nothing of its values and an integer
nothing of its width: both are added here.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

import msgspec
from lightkube.models import certificates_v1, coordination_v1, core_v1, storage_v1

TABLE: Final = Path(__file__).parents[2] / "modules" / "common" / "kube" / "shapes.txt"

_ROOTS: Final = (
    certificates_v1.CertificateSigningRequest,
    core_v1.ConfigMap,
    core_v1.Endpoints,
    core_v1.Event,
    core_v1.Node,
    core_v1.PersistentVolume,
    core_v1.PersistentVolumeClaim,
    core_v1.Pod,
    core_v1.Secret,
    core_v1.Service,
    coordination_v1.Lease,
    storage_v1.VolumeAttachment,
)

_SCALARS: Final[dict[Any, str]] = {
    datetime: "time",
    bool: "boolean",
    float: "number",
    str: "string",
    msgspec.Raw: "any",
    Any: "any",
}
_MAPS: Final = {
    "CertificateSigningRequestSpec.extra": "{}[]string",
    **dict.fromkeys(("ConfigMap.binaryData", "Secret.data"), "{}bytes"),
    **dict.fromkeys(
        (
            "ContainerStatus.allocatedResources",
            "NodeStatus.allocatable",
            "NodeStatus.capacity",
            "PersistentVolumeClaimStatus.allocatedResources",
            "PersistentVolumeClaimStatus.capacity",
            "PersistentVolumeSpec.capacity",
            "PodSpec.overhead",
            "PodStatus.allocatedResources",
            "ResourceRequirements.limits",
            "ResourceRequirements.requests",
            "VolumeResourceRequirements.limits",
            "VolumeResourceRequirements.requests",
        ),
        "{}quantity",
    ),
}
_QUANTITIES: Final = frozenset(("divisor", "sizeLimit"))
_INT64: Final = frozenset(
    (
        "activeDeadlineSeconds",
        "capacity",
        "defaultUser",
        "deletionGracePeriodSeconds",
        "expirationSeconds",
        "fsGroup",
        "generation",
        "gid",
        "observedGeneration",
        "runAsGroup",
        "runAsUser",
        "seconds",
        "sizeBytes",
        "supplementalGroups",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
        "uid",
        "user",
    )
)
#: The API server's own; no edge is told of them.
_LEFT_OUT: Final = "managedFields"


def table() -> str:
    """Return the table: a line for each type, its name first, then `field:type`."""
    found: dict[str, str] = {}
    for root in _ROOTS:
        _describe(root, found)
    return "".join(f"{found[name]}\n" for name in sorted(found))


def _describe(struct: type[msgspec.Struct], found: dict[str, str]) -> None:
    if struct.__name__ in found:
        return
    found[struct.__name__] = ""
    fields = [
        f"{field.encode_name}:{_type(struct.__name__, field.encode_name, field.type, found)}"
        for field in msgspec.structs.fields(struct)
        if field.encode_name != _LEFT_OUT
    ]
    found[struct.__name__] = " ".join((struct.__name__, *fields))


def _type(owner: str, name: str, type_: Any, found: dict[str, str]) -> str:
    origin, arguments = get_origin(type_), get_args(type_)
    if origin in (Union, UnionType):
        parts = [part for part in arguments if part is not NoneType]
        if len(parts) > 1:
            return "intOrString" if set(parts) == {int, str} else "quantity"
        return _type(owner, name, parts[0], found)
    if origin is list:
        return f"[]{_type(owner, name, arguments[0], found)}"
    if type_ is dict or origin is dict:
        return _MAPS.get(f"{owner}.{name}", "{}string")
    if name in _QUANTITIES:
        return "quantity"
    if type_ is int:
        return "int64" if name in _INT64 else "int32"
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        _describe(type_, found)
        return type_.__name__
    return _SCALARS.get(type_) or f"?{type_}"


if __name__ == "__main__":
    TABLE.write_text(table())

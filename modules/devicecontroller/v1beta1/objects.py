"""Reading Device, DeviceModel and DeviceStatus objects of v1beta1.

The shapes are those of Go's api/apis/devices/v1beta1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from modules.common import device_references
from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE
from modules.common.kube import (
    DEVICEMODELS_V1BETA1,
    DEVICES_V1BETA1,
    BadObject,
    Key,
    Object,
    Resource,
    check,
    is_name,
)
from modules.devicecontroller.compressed import CompressedDevice, decompressed
from modules.devicecontroller.native import ALPHA, BETA, native_to
from modules.devicecontroller.v1beta1.shapes import STATUS

RESOURCES: Final[dict[str, Resource]] = {
    DEVICE_TYPE: DEVICES_V1BETA1,
    MODEL_TYPE: DEVICEMODELS_V1BETA1,
}

_encode = msgspec.json.Encoder(order="deterministic").encode


def node_of(device: Object) -> str:
    """Return the node of a device; empty if it names none."""
    if isinstance(device, CompressedDevice):
        return device.node
    return device_references.node_of(device)


def model_of(device: Object) -> Key | None:
    """Return the model that a device names, which is in its own namespace."""
    if isinstance(device, CompressedDevice):
        return (device["metadata"]["namespace"], device.model) if device.model else None
    return device_references.model_of(device)


def protocol_of(type_: str, obj: Object) -> str:
    """Return the protocol of a device or a model, by which an edge finds its mapper."""
    if isinstance(obj, CompressedDevice):
        return obj.protocol
    protocol: Any = (obj.get("spec") or {}).get("protocol")
    if type_ == DEVICE_TYPE:
        protocol = (protocol or {}).get("protocolName")
    return protocol or ""


def properties_of(device: Object) -> set[str]:
    """Return the names of a device's properties."""
    properties = (device.get("spec") or {}).get("properties") or []
    return {each["name"] for each in properties if each and each.get("name")}


def uid_of(obj: Object) -> str:
    uid: str = obj["metadata"].get("uid", "")
    return uid


def version_of(obj: Object) -> str:
    version: str = obj["metadata"].get("resourceVersion", "")
    return version


def digest_of(obj: Object) -> str:
    """Return a digest of what is sent when it changes: as in Go the spec alone."""
    if isinstance(obj, CompressedDevice):
        return obj.digest
    return hashlib.sha256(_encode(obj.get("spec") or {})).hexdigest()[:16]


def state_of(obj: Object) -> str:
    """Return what the record has of an object that a node has acknowledged: `DIGEST@VERSION`."""
    return f"{digest_of(obj)}@{version_of(obj)}"


def is_seen(obj: Object, seen: str) -> bool:
    """Whether a node that has acknowledged `seen` has this state of an object.

    What Go's cloud has recorded is the version alone.
    """
    digest, at, version = seen.partition("@")
    return digest == digest_of(obj) if at and digest else (version or digest) == version_of(obj)


def for_edge(type_: str, obj: Object) -> Object:
    """Return an object as edges get it: whole, with kind and apiVersion."""
    resource = RESOURCES[type_]
    return {"kind": resource.kind, "apiVersion": resource.api_version, **decompressed(obj)}


def remains(type_: str, key: Key, uid: str, protocol: str) -> Object:
    """Return the content of a delete for an object whose last state is no longer known.

    The edge finds the mapper by the protocol (RemoveDevice in edge/pkg/devicetwin/dmiclient).
    """
    spec = {"protocol": {"protocolName": protocol} if type_ == DEVICE_TYPE else protocol}
    metadata = {"name": key[1], "namespace": key[0], "uid": uid}
    return for_edge(type_, {"metadata": metadata, "spec": spec if protocol else {}})


def reader(shape: Any, kind: Resource, is_alone: Callable[[], bool]) -> Callable[[Any], Any]:
    """Return the function that reduces a Device or a DeviceModel for the reflector's store.

    It drops objects of v1alpha1; those that may be of either are used unless they are malformed
    and v1alpha1 is served too (`is_alone` says that it is not). Raises BadObject if an edge could
    not decode a field.
    """

    def keep(obj: Any) -> Object | None:
        native = native_to(kind.plural, obj)
        if native == ALPHA:
            return None
        try:
            check(obj, shape)
            _check_names(obj)
        except BadObject:
            if native == BETA or is_alone():
                raise
            return None
        if native != BETA and kind is DEVICES_V1BETA1 and not is_alone():
            return None
        return _kept(obj)

    return keep


def compressing(keep: Callable[[Any], Object | None]) -> Callable[[Any], Object | None]:
    """Return the function that compresses what another one keeps of a Device."""

    def keep_compressed(obj: Any) -> Object | None:
        kept = keep(obj)
        return kept and _compress(kept)

    return keep_compressed


def keep_written(obj: Object) -> Object:
    """Reduce an object that has been read or written for its status."""
    return _kept(obj)


def keep_status(obj: Any) -> Object:
    """Reduce a DeviceStatus; raises BadObject if it is malformed."""
    check(obj, STATUS)
    return _kept(obj)


def _compress(device: Object) -> CompressedDevice:
    _, model = model_of(device) or ("", "")
    return CompressedDevice.of(
        device,
        node=node_of(device),
        model=model,
        protocol=protocol_of(DEVICE_TYPE, device),
        digest=digest_of(device),
    )


def _check_names(obj: Object) -> None:
    node = node_of(obj)
    if node and not is_name(node):
        raise BadObject("spec.nodeName", "is not the name of a node")
    model = model_of(obj) if "deviceModelRef" in (obj.get("spec") or {}) else None
    if model and not is_name(model[1]):
        raise BadObject("spec.deviceModelRef.name", "is not the name of a DeviceModel")


def _kept(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    kept = {name: obj[name] for name in ("spec", "status") if obj.get(name) is not None}
    return {"metadata": metadata, **kept}

r"""The protobuf encoding of Kubernetes, for requests: some kubectl commands send nothing else.

A body is `k8s\0` and a runtime.Unknown that names the kind and holds the message
(k8s.io/apimachinery/pkg/runtime/serializer/protobuf). The table below lists the fields of each
message, with the numbers of generated.proto in k8s.io/api and k8s.io/apimachinery. A field that is
not in the table is an error: dropping it would store another object than the client sent.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from modules.apiserver.meta.objects import Json
from modules.apiserver.meta.status import bad_request, unsupported_media_type
from modules.common.times import format_time

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\0"


class Field(NamedTuple):
    """A field of a message; `type` is a scalar or a message of the table, `?` keeps zero values."""

    name: str
    type: str = "string"
    repeated: bool = False
    keep_zero: bool = False


def _message(**fields: str) -> dict[int, Field]:
    """Return the fields of a message, given as NAME="NUMBER [TYPE][?|[]]"."""
    message = {}
    for name, text in fields.items():
        number, _, type_ = text.partition(" ")
        message[int(number)] = Field(
            name,
            type_.rstrip("?[]") or "string",
            repeated=type_.endswith("[]"),
            keep_zero=type_.endswith("?"),
        )
    return message


_OBJECT_META = _message(
    name="1", generateName="2", namespace="3", selfLink="4", uid="5", resourceVersion="6",
    generation="7 int", creationTimestamp="8 Time", deletionTimestamp="9 Time",
    deletionGracePeriodSeconds="10 int?", labels="11 map", annotations="12 map",
    ownerReferences="13 OwnerReference[]", finalizers="14 string[]",
)  # fmt: skip

_MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "ObjectMeta": _OBJECT_META,
    "OwnerReference": _message(
        kind="1", name="3", uid="4", apiVersion="5", controller="6 bool?",
        blockOwnerDeletion="7 bool?",
    ),
    "LocalObjectReference": _message(name="1"),
    "ObjectReference": _message(
        kind="1", namespace="2", name="3", uid="4", apiVersion="5", resourceVersion="6",
        fieldPath="7",
    ),
    "v1/ConfigMap": _message(
        metadata="1 ObjectMeta", data="2 map", binaryData="3 bytesmap", immutable="4 bool?"
    ),
    "v1/Secret": _message(
        metadata="1 ObjectMeta", data="2 bytesmap", type="3", stringData="4 map",
        immutable="5 bool?",
    ),
    "v1/Namespace": _message(
        metadata="1 ObjectMeta", spec="2 NamespaceSpec", status="3 NamespaceStatus"
    ),
    "NamespaceSpec": _message(finalizers="1 string[]"),
    "NamespaceStatus": _message(phase="1"),
    "v1/ServiceAccount": _message(
        metadata="1 ObjectMeta", secrets="2 ObjectReference[]",
        imagePullSecrets="3 LocalObjectReference[]", automountServiceAccountToken="4 bool?",
    ),
    "v1/Service": _message(
        metadata="1 ObjectMeta", spec="2 ServiceSpec", status="3 ServiceStatus"
    ),
    "ServiceSpec": _message(
        ports="1 ServicePort[]", selector="2 map", clusterIP="3", type="4",
        externalIPs="5 string[]", sessionAffinity="7", loadBalancerIP="8",
        loadBalancerSourceRanges="9 string[]", externalName="10", externalTrafficPolicy="11",
        healthCheckNodePort="12 int", publishNotReadyAddresses="13 bool", ipFamilyPolicy="17",
        clusterIPs="18 string[]", ipFamilies="19 string[]",
        allocateLoadBalancerNodePorts="20 bool?", loadBalancerClass="21",
        internalTrafficPolicy="22", trafficDistribution="23",
    ),
    "ServicePort": _message(
        name="1", protocol="2", port="3 int", targetPort="4 IntOrString", nodePort="5 int",
        appProtocol="6",
    ),
    "ServiceStatus": _message(loadBalancer="1 LoadBalancerStatus"),
    "LoadBalancerStatus": {},
    "v1/Binding": _message(metadata="1 ObjectMeta", target="2 ObjectReference"),
    "v1/DeleteOptions": _message(
        gracePeriodSeconds="1 int?", preconditions="2 Preconditions",
        orphanDependents="3 bool?", propagationPolicy="4", dryRun="5 string[]",
    ),
    "Preconditions": _message(uid="1", resourceVersion="2"),
    "authorization.k8s.io/v1/SelfSubjectAccessReview": _message(
        metadata="1 ObjectMeta", spec="2 AccessReviewSpec", status="3 AccessReviewStatus"
    ),
    "AccessReviewSpec": _message(
        resourceAttributes="1 ResourceAttributes", nonResourceAttributes="2 PathAttributes"
    ),
    "ResourceAttributes": _message(
        namespace="1", verb="2", group="3", version="4", resource="5", subresource="6", name="7"
    ),
    "PathAttributes": _message(path="1", verb="2"),
    "AccessReviewStatus": _message(
        allowed="1 bool", reason="2", evaluationError="3", denied="4 bool"
    ),
    "certificates.k8s.io/v1/CertificateSigningRequest": _message(
        metadata="1 ObjectMeta", spec="2 SigningRequestSpec", status="3 SigningRequestStatus"
    ),
    "SigningRequestSpec": _message(
        request="1 bytes", username="2", uid="3", groups="4 string[]", usages="5 string[]",
        extra="6 listmap", signerName="7", expirationSeconds="8 int?",
    ),
    "SigningRequestStatus": _message(
        conditions="1 SigningRequestCondition[]", certificate="2 bytes"
    ),
    "SigningRequestCondition": _message(
        type="1", reason="2", message="3", lastUpdateTime="4 Time", lastTransitionTime="5 Time",
        status="6",
    ),
    "ExtraValue": _message(items="1 string[]"),
    "authentication.k8s.io/v1/TokenRequest": _message(
        metadata="1 ObjectMeta", spec="2 TokenRequestSpec", status="3 TokenRequestStatus"
    ),
    "TokenRequestSpec": _message(
        audiences="1 string[]", boundObjectRef="3 BoundObjectReference", expirationSeconds="4 int?"
    ),
    "BoundObjectReference": _message(kind="1", apiVersion="2", name="3", uid="4"),
    "TokenRequestStatus": _message(token="1", expirationTimestamp="2 Time"),  # noqa: S106 - numbers
    "authentication.k8s.io/v1/SelfSubjectReview": _message(
        metadata="1 ObjectMeta", status="2 SelfSubjectReviewStatus"
    ),
    "SelfSubjectReviewStatus": _message(userInfo="1 UserInfo"),
    "UserInfo": _message(username="1", uid="2", groups="3 string[]", extra="4 listmap"),
}  # fmt: skip

_UNKNOWN = {1: "typeMeta", 2: "raw"}


def decode_body(data: bytes) -> Json:
    """Return the object; raises ApiError (400, or 415 for a kind that is not in the table)."""
    if not data.startswith(MAGIC):
        raise bad_request("the body of the request is not a Kubernetes protobuf message")
    try:
        envelope = {_UNKNOWN.get(number): value for number, value in _fields(data[len(MAGIC) :])}
        meta = {number: _text(value) for number, value in _fields(envelope.get("typeMeta", b""))}
        api_version, kind = meta.get(1, ""), meta.get(2, "")
        name = f"{api_version}/{kind}"
        if kind == "DeleteOptions":
            name = "v1/DeleteOptions"
        if name not in _MESSAGES:
            raise unsupported_media_type(
                f"this server takes {api_version} {kind} as application/json, not as {MEDIA_TYPE}"
            )
        content = _decode(name, envelope.get("raw", b""))
    except (ValueError, IndexError, TypeError, OverflowError, OSError) as error:
        raise bad_request(f"the protobuf body of the request is damaged: {error}") from error
    return {"apiVersion": api_version, "kind": kind, **content}


def _decode(message: str, data: bytes) -> Json:
    result: Json = {}
    for number, raw in _fields(data):
        field = _MESSAGES[message].get(number)
        if field is None:
            raise ValueError(f"field {number} of {message} is not known here, send JSON instead")
        if field.type in _MAPS:
            key, value = _map_entry(raw, field.type)
            result.setdefault(field.name, {})[key] = value
            continue
        value = _value(field.type, raw)
        if field.repeated:
            result.setdefault(field.name, []).append(value)
        # Go writes empty fields that are not pointers; JSON omits them.
        elif value or field.keep_zero:
            result[field.name] = value
    return result


def _value(type_: str, raw: Any) -> Any:
    match type_:
        case "string":
            return _text(raw)
        case "bytes":
            return base64.b64encode(_bytes(raw)).decode()
        case "int":
            return _signed(raw)
        case "bool":
            return bool(raw)
        case "Time":
            return _time(raw)
        case "IntOrString":
            parts = dict(_fields(raw))
            return _text(parts.get(3, b"")) if parts.get(1) else _signed(parts.get(2, 0))
    return _decode(type_, raw)


def _time(raw: bytes) -> str | None:
    if not raw:
        return None
    seconds = _signed(dict(_fields(raw)).get(1, 0))
    return format_time(datetime.fromtimestamp(seconds, UTC))


def _map_entry(raw: bytes, type_: str) -> tuple[str, Any]:
    entry = dict(_fields(raw))
    value = _bytes(entry.get(2, b""))
    return _text(entry.get(1, b"")), _MAPS[type_](value)


def _list(raw: bytes) -> Any:
    return _decode("ExtraValue", raw).get("items", [])


def _fields(raw: Any) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message in wire format, as (number, int or bytes)."""
    data = _bytes(raw)
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(data, position)
                if position + length > len(data):
                    raise ValueError("it ends in the middle of a field")
                yield tag >> 3, data[position : position + length]
                position += length
            case wire_type:
                raise ValueError(f"wire type {wire_type} is used by no Kubernetes message")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")


def _signed(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError("a field has a length and bytes where it should be a number")
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(raw: Any) -> str:
    return _bytes(raw).decode()


def _bytes(raw: Any) -> bytes:
    """Return the bytes of a text or message; raises TypeError for a number."""
    if not isinstance(raw, bytes):
        raise TypeError("a field is a number where it should have a length and bytes")
    return raw


_MAPS: Mapping[str, Callable[[bytes], Any]] = {
    "map": _text,
    "bytesmap": lambda raw: base64.b64encode(raw).decode(),
    "listmap": _list,
}


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode a field of type text, bytes or message."""
    return _encode_varint(number << 3 | 2) + _encode_varint(len(value)) + value


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

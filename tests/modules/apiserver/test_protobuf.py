from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modules.apiserver.http.protobuf import MAGIC, decode_body
from modules.apiserver.meta.status import ApiError


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def body(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    meta = field(1, api_version.encode()) + field(2, kind.encode())
    return MAGIC + field(1, meta) + field(2, raw) + field(3, b"") + field(4, b"")


def test_configmap() -> None:
    entry = field(1, b"key") + field(2, "wärt".encode())
    binary = field(1, b"bin") + field(2, b"\x00\xff")
    metadata = field(1, b"name") + field(2, b"") + field(8, b"") + field(11, entry)
    found = decode_body(
        body("ConfigMap", field(1, metadata) + field(2, entry) + field(3, binary) + field(4, 0))
    )
    assert found == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "name", "labels": {"key": "wärt"}},
        "data": {"key": "wärt"},
        "binaryData": {"bin": base64.b64encode(b"\x00\xff").decode()},
        "immutable": False,
    }


def test_service_ports() -> None:
    number = field(1, 0) + field(2, 8080) + field(3, b"")
    name = field(1, 1) + field(2, 0) + field(3, b"http")
    ports = b"".join(field(1, field(3, 80) + field(4, target)) for target in (number, name))
    spec = decode_body(body("Service", field(2, ports)))["spec"]
    assert spec["ports"] == [{"port": 80, "targetPort": 8080}, {"port": 80, "targetPort": "http"}]


def test_negative_numbers_and_times() -> None:
    options = field(1, -1) + field(2, field(1, b"uid"))
    found = decode_body(body("DeleteOptions", options, "policy/v1"))
    assert found["gracePeriodSeconds"] == -1
    assert found["preconditions"] == {"uid": "uid"}
    metadata = field(8, field(1, 1577836800))
    found = decode_body(body("Namespace", field(1, metadata)))
    assert found["metadata"] == {"creationTimestamp": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"{}", 400, "not a Kubernetes protobuf"),
        (body("Pod", b""), 415, "as application/json"),
        (body("ConfigMap", field(99, 1)), 400, "field 99"),
        (body("ConfigMap", b"\x0a\x05ab"), 400, "middle of a field"),
        (body("ConfigMap", b"\x09" + bytes(8)), 400, "wire type 1"),
        (body("ConfigMap", b"\xff" * 20), 400, "64 bits"),
        (body("ConfigMap", field(1, 5)), 400, "damaged"),
    ],
)
def test_what_is_refused(data: bytes, code: int, text: str) -> None:
    with pytest.raises(ApiError, match=text) as raised:
        decode_body(data)
    assert raised.value.code == code


@given(st.binary(max_size=100), st.sampled_from(["ConfigMap", "Service", "DeleteOptions"]))
@example(b"(\x00", "DeleteOptions")  # a number where the table has text
def test_any_bytes_are_an_object_or_an_error(raw: bytes, kind: str) -> None:
    for data in (MAGIC + raw, body(kind, raw)):
        with contextlib.suppress(ApiError):
            assert "kind" in decode_body(data)

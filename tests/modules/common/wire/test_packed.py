"""The packed lane: Go's own frames both ways, odd input, and no crash whatever comes."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipc import Message
from modules.common.wire import WireError, gojson, message_pb2
from modules.common.wire.packed import Decoder, encode

FRAMES = Path(__file__).parents[3] / "data" / "frames" / "v1.1"
NAMES = sorted(path.stem for path in FRAMES.glob("*.json"))


def frame(name: str) -> tuple[dict[str, Any], list[bytes]]:
    described = json.loads((FRAMES / f"{name}.json").read_text())
    parts = [(FRAMES / part["file"]).read_bytes() for part in described["websocket_messages"]]
    return described, parts


def content_of(described: dict[str, Any]) -> bytes:
    if "content_bytes_b64" in described:
        return base64.b64decode(described["content_bytes_b64"])
    if described["content_bytes_len"] == 0:
        return b""
    return bytes(ord("a") + i % 26 for i in range(described["content_bytes_len"]))


def has_content(name: str) -> bool:
    """Whether the frame is described by the value it was made of, not only by its bytes."""
    described, _ = frame(name)
    return "content" in described and described["content_go_type"] != "[]uint8"


def message(content: Any = b"hello") -> Message:
    return Message("id-1", "", 1568770352123, False, "src", "grp", "op", "res", content)


def pack(payload: bytes, version: bytes = b"\x01\x01\x01\x00", kind: int = 1) -> bytes:
    return struct.pack(">4sBBI", version, kind, 0, len(payload))


def test_there_are_frames() -> None:
    assert len(NAMES) == 20


@pytest.mark.parametrize("name", NAMES)
def test_decodes_to_its_description(name: str) -> None:
    described, parts = frame(name)
    decoder = Decoder()
    (got,) = [found for part in parts for found in decoder.feed(part)]
    header, route = described["header"], described["route"]
    assert (got.id, got.parent_id) == (header["msg_id"], header["parent_msg_id"])
    assert (got.timestamp, got.sync) == (header["timestamp"], header["sync"])
    assert (got.source, got.group) == (route["source"], route["group"])
    assert (got.operation, got.resource) == (route["operation"], route["resource"])
    assert hashlib.sha256(got.content).hexdigest() == described["content_bytes_sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_encodes_to_the_same_bytes(name: str) -> None:
    described, parts = frame(name)
    header, route = described["header"], described["route"]
    built = Message(
        header["msg_id"],
        header["parent_msg_id"],
        header["timestamp"],
        header["sync"],
        route["source"],
        route["group"],
        route["operation"],
        route["resource"],
        content_of(described),
    )
    assert list(encode(built)) == parts


@pytest.mark.parametrize("name", [name for name in NAMES if has_content(name)])
def test_content_as_an_object_encodes_to_the_same_content(name: str) -> None:
    described, parts = frame(name)
    if described["content_go_type"].endswith(("v1.Pod", "NodeStatusRequest")):
        # Go writes a struct in its fields' order and a map sorted: equal but for the order.
        content = json.loads(content_of(described))
        assert json.loads(gojson.dumps(described["content"])) == content
        return
    (decoded,) = feed_all(parts)
    decoded.content = described["content"]
    assert list(encode(decoded)) == parts


def feed_all(parts: list[bytes]) -> list[Message]:
    decoder = Decoder()
    return [found for part in parts for found in decoder.feed(part)]


def test_what_go_reads_in_pieces_is_read() -> None:
    header, payload = encode(message())
    assert feed_all([header, payload[:7], payload[7:]]) == [message()]
    assert feed_all([header[:4], header[4:], payload]) == [message()]
    assert feed_all([b"", header, b"", payload[:1], b"", payload[1:], b""]) == [message()]
    assert feed_all([header, *(payload[i : i + 1] for i in range(len(payload)))]) == [message()]
    assert feed_all([header, payload] * 3) == [message()] * 3


def test_a_repeated_message_is_told_by_all_but_its_header() -> None:
    decoder = Decoder(repeats="keepalive")

    def read(operation: str, resource: str, content: str, **header: Any) -> Message:
        made = Message.build("edged", "resource", operation, resource, content, **header)
        (got,) = [found for part in encode(made) for found in decoder.feed(part)]
        assert (got.operation, got.resource, got.content) == (operation, resource, content.encode())
        return got

    first = read("keepalive", "node", "ping")
    assert read("keepalive", "node", "ping") is first
    assert read("keepalive", "node", "ping", parent_id="of another length") is first
    (_, payload) = encode(first)
    rest = payload[2 + payload[1] :].decode()
    assert read("update", "node", rest) is not first  # it ends as a keepalive does
    for other in (("keepalive", "node", "pong"), ("keepalive", "nodes", "ping")):
        assert read(*other) is not first
    assert read("update", "node", "ping").id != read("update", "node", "ping").id
    long = read("keepalive", "node", "ping", parent_id="x" * 200)
    assert read("keepalive", "node", "ping", parent_id="x" * 200) is not long


def test_takes_any_bytes_like() -> None:
    header, payload = encode(message())
    decoder = Decoder()
    assert decoder.feed(memoryview(bytearray(header))) == []
    assert decoder.feed(bytearray(payload[:3])) == []
    assert decoder.feed(memoryview(payload)[3:]) == [message()]


def test_flags_are_ignored_as_go_does() -> None:
    header, payload = encode(message())
    assert feed_all([header[:5] + b"\x80" + header[6:], payload]) == [message()]


HEADER, PAYLOAD = encode(message())
ONLY_CONTENT = message_pb2.Message(content=b"x").SerializeToString()
NO_ROUTER = message_pb2.Message(header=message_pb2.Header(id="i")).SerializeToString()
NO_HEADER = message_pb2.Message(router=message_pb2.Router(source="s")).SerializeToString()
BAD_UTF8 = PAYLOAD.replace(b"id-1", b"\xff\xfe\xfd\xfc")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([HEADER + PAYLOAD], "header and payload in one"),
        ([HEADER[:3], HEADER[3:] + PAYLOAD], "header and payload in one"),
        ([pack(PAYLOAD, version=b"\x02\x00\x00\x00"), PAYLOAD], "starts with 02 00 00 00"),
        ([pack(PAYLOAD, kind=2), PAYLOAD], "package type 0x02"),
        ([pack(b"")], "zero bytes"),
        ([b'{"header":{"msg_id":"x"}}\n'], "starts with 7b 22 68 65"),
        ([HEADER, PAYLOAD + b"12345"], "5 bytes more"),
        ([HEADER, PAYLOAD[:9], PAYLOAD[9:] + b"x"], "1 bytes more"),
        ([pack(ONLY_CONTENT), ONLY_CONTENT], "without header"),
        ([pack(NO_HEADER), NO_HEADER], "without header"),
        ([pack(NO_ROUTER), NO_ROUTER], "without router"),
        ([pack(b"garbage!"), b"garbage!"], "no protobuf message"),
        ([pack(BAD_UTF8), BAD_UTF8], "no protobuf message"),
    ],
)
def test_refuses_with_the_reason(parts: list[bytes], reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        feed_all(parts)


def test_refuses_what_is_too_large_before_any_of_it_is_kept() -> None:
    header, payload = encode(message(b"x" * 1000))
    decoder = Decoder(max_payload=len(payload))
    assert decoder.feed(header) == []
    assert [m.content for m in decoder.feed(payload)] == [b"x" * 1000]
    with pytest.raises(WireError, match=f"{len(payload)} bytes, more than {len(payload) - 1}"):
        Decoder(max_payload=len(payload) - 1).feed(header)


def test_content_rules() -> None:
    def content(value: Any) -> bytes:
        (got,) = feed_all(list(encode(message(value))))
        assert isinstance(got.content, bytes)
        return got.content

    assert content(None) == content("") == content(b"") == b""
    assert content("héllo 世界") == "héllo 世界".encode()
    assert content(b"\xff\x00") == b"\xff\x00"
    assert (
        content({"b": [1, 2.5, None], "a": "<&>"})
        == rb'{"a":"\u003c\u0026\u003e","b":[1,2.5,null]}'
    )
    assert (content(42), content(True), content([])) == (b"42", b"true", b"[]")


@pytest.mark.parametrize(
    "content", [{1: 2}, {"a": object()}, "\ud800", {"a": "\ud800"}], ids=["key", "type", "s", "d"]
)
def test_what_cannot_be_said_names_the_message(content: Any) -> None:
    with pytest.raises(WireError, match=r"message id-1 \(op res\) cannot be sent"):
        encode(message(content))


def test_a_timestamp_beyond_64_bits_is_refused() -> None:
    late = message()
    late.timestamp = 2**63
    with pytest.raises(WireError, match="id-1"):
        encode(late)


text = st.text(st.characters(codec="utf-8"), max_size=40)
messages = st.builds(
    Message,
    id=text,
    parent_id=text,
    timestamp=st.integers(-(2**63), 2**63 - 1),
    sync=st.booleans(),
    source=text,
    group=text,
    operation=text,
    resource=text,
    content=st.binary(max_size=300),
    reply_to=st.just(""),
    redelivered=st.just(0),
)


@given(st.lists(messages, max_size=4), st.data())
def test_any_message_survives_the_wire_in_any_pieces(
    sent: list[Message], data: st.DataObject
) -> None:
    decoder = Decoder()
    got = []
    for part in (part for one in sent for part in encode(one)):
        cuts = sorted(data.draw(st.sets(st.integers(0, len(part)), max_size=3)))
        for start, end in zip([0, *cuts], [*cuts, len(part)], strict=True):
            got += decoder.feed(part[start:end])
    assert got == sent


parts = st.one_of(
    st.binary(max_size=40),
    st.just(HEADER),
    st.just(PAYLOAD),
    st.binary(max_size=30).map(lambda tail: PAYLOAD + tail),
    st.tuples(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 255)).map(
        lambda change: PAYLOAD[: change[0]] + bytes([change[1]]) + PAYLOAD[change[0] + 1 :]
    ),
    st.builds(
        lambda n: struct.pack(">4sBBI", b"\x01\x01\x01\x00", 1, 0, n), st.integers(0, 2**32 - 1)
    ),
)


@given(st.lists(parts, max_size=12))
@example([HEADER, PAYLOAD[:-1], b""])
def test_whatever_comes_is_a_message_or_a_wire_error(stream: list[bytes]) -> None:
    decoder = Decoder(max_payload=4096)
    try:
        for part in stream:
            for found in decoder.feed(part):
                assert isinstance(found, Message)
                assert isinstance(found.content, bytes)
            assert len(decoder._payload) <= 4096
            assert len(decoder._header) < 10
    except WireError:
        return

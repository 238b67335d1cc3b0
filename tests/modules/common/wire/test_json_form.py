"""The JSON form: Go's own messages both ways, and no crash whatever comes."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import Message
from ipc.message import decode_message, encode_message
from modules.common.wire import WireError
from modules.common.wire.json_form import Decoder, EnvelopeDecoder, encode

FRAMES = Path(__file__).parents[3] / "data" / "frames" / "v1.23"
NAMES = sorted(path.stem for path in FRAMES.glob("*.json"))


def content_of(message: Message) -> Any:
    """Return the whole content of a message of EnvelopeDecoder."""
    content = message.content
    return msgspec.json.decode(content) if isinstance(content, bytes) else content


def written(name: str) -> bytes:
    return (FRAMES / f"{name}.ws1.bin").read_bytes()


def test_there_are_frames() -> None:
    assert len(NAMES) == 23


@pytest.mark.parametrize("name", NAMES)
def test_decodes_to_what_go_decodes(name: str) -> None:
    (got,) = Decoder().feed(written(name))
    wanted = json.loads(written(name))
    header, route = wanted["header"], wanted["route"]
    assert (got.id, got.parent_id) == (header["msg_id"], header.get("parent_msg_id", ""))
    assert (got.timestamp, got.sync) == (header["timestamp"], header.get("sync", False))
    assert (got.resource_version, got.type) == (
        header.get("resourceversion", ""),
        header.get("type", ""),
    )
    for field in ("source", "destination", "group", "operation", "resource"):
        assert getattr(got, field) == route.get(field, "")
    assert got.content == wanted["content"]


@pytest.mark.parametrize("name", NAMES)
def test_encodes_to_what_go_encodes(name: str) -> None:
    (message,) = Decoder().feed(written(name))
    (encoded,) = encode(message)
    if isinstance(message.content, dict):  # a Go struct is in its own order, ours is sorted
        assert json.loads(encoded) == json.loads(written(name))
    else:
        assert encoded == written(name)


def test_encodes_what_a_real_cloud_has_written() -> None:
    """Header and route byte for byte, and what is no Go struct in the content as well."""
    capture = FRAMES.parents[1] / "captures/v1.23-edge.jsonl"
    lines = map(json.loads, capture.read_text().splitlines())
    sent = [each for each in lines if each["dir"] == "cloud->edge" and "frame" in each]
    written = [base64.b64decode(e["frame"]["b64"]) for e in sent if e["frame"]["opcode"] == 1]
    assert len(written) > 10
    for data in written:
        (message,) = Decoder().feed(data)
        (encoded,) = encode(message)
        assert json.loads(encoded) == json.loads(data)
        assert encoded.partition(b'"content":')[0] == data.partition(b'"content":')[0]
        assert encoded == data or isinstance(message.content, dict)


def test_bytes_are_base64_and_angle_brackets_escaped() -> None:
    message = Message("i", "p", 1, True, "s", "g", "o", "r", b"\x00\xff")
    assert encode(message) == (
        (
            b'{"header":{"msg_id":"i","parent_msg_id":"p","timestamp":1,"sync":true},'
            b'"route":{"source":"s","group":"g","operation":"o","resource":"r"},"content":"AP8="}\n'
        ),
    )
    (encoded,) = encode(Message("i", "", 0, False, "s", "g", "o", "<r>", None))
    assert b"\\u003cr\\u003e" in encoded


def test_what_is_missing_is_empty_as_in_go() -> None:
    (got,) = Decoder().feed(b'{"more": [1]}')
    assert got == Message("", "", 0, False, "", "", "", "")
    assert Decoder().feed(b"") == []


@pytest.mark.parametrize("decoder", [Decoder, EnvelopeDecoder])
def test_null_is_no_value_as_in_go(decoder: type[Decoder]) -> None:
    header = ("msg_id", "parent_msg_id", "timestamp", "resourceversion", "sync", "type")
    route = ("source", "destination", "group", "operation", "resource")
    nulls = {"header": dict.fromkeys(header), "route": dict.fromkeys(route), "content": None}
    for data in (nulls, dict.fromkeys(nulls)):
        (got,) = decoder().feed(json.dumps(data).encode())
        assert got == Message("", "", 0, False, "", "", "", "")


@pytest.mark.parametrize("content", ["1e999", "9" * 5000, '{"a":[-1e999]}'])
def test_what_python_cannot_represent_goes_through_an_envelope(content: str) -> None:
    (got,) = EnvelopeDecoder().feed(b'{"content":' + content.encode() + b"}")
    assert got.content == content.encode()


@pytest.mark.parametrize(
    "data",
    [
        *(b"{", b"[]", b"1", b"\xff", b'{"header":1}', b'{"header":{"msg_id":1}}', b"{}{}"),
        b'{"header":{"timestamp":"1"}}',
        b'{"header":{"timestamp":1.0}}',
        b'{"header":{"timestamp":9223372036854775808}}',
        b'{"content":"\\q"}',
        b'{"content":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda data: data[:12].decode(errors="replace"),
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="no message in JSON"):
        Decoder().feed(data)


def test_the_largest_message() -> None:
    data = json.dumps({"content": "x" * 100}).encode()
    assert Decoder(len(data)).feed(data)
    with pytest.raises(WireError, match="more than"):
        Decoder(len(data) - 1).feed(data)


def test_what_json_cannot_say_names_the_message() -> None:
    with pytest.raises(WireError, match="message i .o r."):
        encode(Message("i", "", 0, False, "s", "g", "o", "r", {1, object}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.tuples(*[st.text()] * 6), st.integers(-(2**63), 2**63 - 1), st.booleans(), JSON)
def test_what_is_encoded_decodes(
    texts: tuple[str, ...], timestamp: int, sync: bool, content: Any
) -> None:
    try:
        message = Message(texts[0], texts[1], timestamp, sync, *texts[2:], content)
        (encoded,) = encode(message)
    except WireError:
        return
    assert Decoder().feed(encoded) == [message]


@pytest.mark.parametrize("name", NAMES)
def test_an_envelope_has_the_content_as_it_came(name: str) -> None:
    (whole,) = Decoder().feed(written(name))
    (got,) = EnvelopeDecoder().feed(written(name))
    if whole.content is None or isinstance(whole.content, str):
        assert got == whole
        return
    text = got.content
    assert isinstance(text, bytes)
    assert text in written(name)
    assert content_of(got) == whole.content


def test_numbers_of_an_envelope_stay_as_they_were_written() -> None:
    text = b'{"a": 1e3, "b": 123456789012345678901234567890, "c": 0.10}'
    (got,) = EnvelopeDecoder().feed(b'{"content":' + text + b"}")
    assert got.content == text


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"\xff", "\ufffd"),
        (b"\xe2\x82", "\ufffd\ufffd"),  # the start of a character: each byte for itself
        (b"\xe2\x82\xac", "\u20ac"),
        (b"\\ud800", "\ufffd"),
        (b"\\udc00x", "\ufffdx"),
        (b"\\ud83d\\ude00", "\U0001f600"),
        (b"\\ud800\\ud83d\\ude00", "\ufffd\U0001f600"),
        (b"\\\\ud800", "\\ud800"),  # an escaped backslash
        ("\u00e9".encode() + b"\\ud800", "\u00e9\ufffd"),
    ],
)
@pytest.mark.parametrize("decoder", [Decoder, EnvelopeDecoder])
def test_what_is_no_unicode_is_replaced_as_in_go(
    raw: bytes, read: str, decoder: type[Decoder]
) -> None:
    """As encoding/json reads it: see `unquoteBytes` in decode.go."""
    (got,) = decoder().feed(b'{"route":{"resource":"' + raw + b'"}}')
    assert got.resource == read
    for content, wanted in ((b'"' + raw + b'"', read), (b'["' + raw + b'"]', [read])):
        (got,) = decoder().feed(b'{"content":' + content + b"}")
        assert content_of(got) == wanted


#: Parts of messages, valid and not, from which one is put together.
PIECES = st.sampled_from(
    [
        *(b'{"header":{"msg_id":"i","timestamp":1},"route":{"resource":"r"},"content":', b"}"),
        *(b'{"content":', b'"header":', b'"route":', b'"timestamp":', b'"msg_id":', b'"resource":'),
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"true", b"1e999", b"-0", b" ", b"\n"),
        *(b"\\", b"\\u", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\xff", b"\xe2\x82", b"\0"),
        *(b"9" * 30, b"[" * 2000, "\u20ac".encode(), "\U0001f600".encode()),
    ]
)
TEXT = st.binary() | st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join)


@given(TEXT)
def test_no_input_does_worse_than_a_wire_error(data: bytes) -> None:
    """And the two decoders take the same, but for numbers that Python does not have."""
    try:
        passed = EnvelopeDecoder().feed(data)
    except WireError:
        with pytest.raises(WireError):
            Decoder().feed(data)
        return
    for message in passed:
        assert isinstance(message.content, str | bytes | None)
        with contextlib.suppress(msgspec.MsgspecError, RecursionError):
            whole = msgspec.structs.replace(message, content=content_of(message))
            assert Decoder().feed(data) == [whole]
            # What is read is Unicode, so that each module can write it.
            assert decode_message(encode_message(whole)) == whole


@given(st.text(), TEXT)
def test_any_bytes_in_a_string_are_read_as_text(resource: str, raw: bytes) -> None:
    text = re.sub(rb'["\\\x00-\x1f]', b"", raw)
    document = b'{"route":{"resource":%s},"content":"%s"}' % (json.dumps(resource).encode(), text)
    (got,) = EnvelopeDecoder().feed(document)
    assert got.content == text.decode(errors="cloudcore.replace-bytes")

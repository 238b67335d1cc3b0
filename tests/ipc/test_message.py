from __future__ import annotations

import contextlib
import os
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc import Message, NotAMessage
from ipc.message import Envelope, decode, decode_envelope, encode, new_id

JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def a_message(content: Any = None) -> Message:
    return Message.build("edgecontroller", "resource", "update", "default/pod/p1", content)


@given(JSON_LIKE, st.text(), st.integers(0, 2**63 - 1), st.booleans())
def test_what_is_encoded_decodes_to_the_same(
    content: Any, resource: str, timestamp: int, sync: bool
) -> None:
    message = Message("id", "parent", timestamp, sync, "s", "g", "o", resource, content, "me", 2)
    assert decode(encode(message)) == message


@given(JSON_LIKE)
def test_an_envelope_is_the_message_without_its_content(content: Any) -> None:
    message = a_message(content)
    told = decode_envelope(encode(message))
    for field in Envelope.__struct_fields__:
        assert getattr(told, field) == getattr(message, field)


@given(st.binary())
def test_the_envelope_of_what_is_not_a_message_is_empty(data: bytes) -> None:
    assert decode_envelope(data) == Envelope("", "", 0, False, "", "", "", "")


@given(st.binary())
def test_decoding_refuses_what_is_not_a_message(data: bytes) -> None:
    with pytest.raises(NotAMessage, match="as a message"):
        decode(data)


@given(st.data())
def test_decoding_a_damaged_message_refuses_or_gives_a_message(data: st.DataObject) -> None:
    whole = bytearray(encode(a_message({"k": ["v", 1]})))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotAMessage):
        assert type(decode(bytes(whole))) is Message


@pytest.mark.parametrize("content", [object(), {1, 2}.__iter__(), 2**70, {"k": object()}])
def test_content_that_is_not_json_like_is_refused_by_name(content: Any) -> None:
    message = a_message(content)
    with pytest.raises(NotAMessage, match=f"{message.id}.*default/pod/p1"):
        encode(message)


def test_only_a_message_is_encoded() -> None:
    with pytest.raises(NotAMessage, match="not dict"):
        encode({"id": "x"})  # type: ignore[arg-type]


def test_a_response_answers_its_message() -> None:
    question = a_message("?")
    question.reply_to = "cloudhub"
    answer = question.response("OK", source="edgecontroller")
    assert answer.parent_id == question.id
    assert answer.id != question.id
    assert (answer.operation, answer.content, answer.resource, answer.reply_to) == (
        "response",
        "OK",
        "default/pod/p1",
        "cloudhub",
    )
    assert question.error("no").operation == "error"


def test_a_clone_has_an_id_of_its_own_and_the_rest_kept() -> None:
    message = a_message({"a": 1})
    message.parent_id = "p"
    clone = message.clone()
    assert clone.id != message.id
    clone.id = message.id
    assert clone == message


def test_ids_are_version_4_uuids_and_differ_across_a_fork() -> None:
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs, mine = os.read(reading, 64).decode(), new_id()
    os.close(reading)
    os.close(writing)
    assert uuid.UUID(mine).version == uuid.UUID(theirs).version == 4
    assert mine[:23] != theirs[:23]

"""The message that modules exchange, and its one encoding.

The fields are beehive's (vendor/github.com/kubeedge/beehive/pkg/core/model/message.go), header
and route laid flat. The encoding is MessagePack with the fields as an array: typed, fast, and
decoding it can build nothing but a Message.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ipc.errors import NotAMessage

OP_RESPONSE: Final = "response"
OP_ERROR: Final = "error"


class Message(msgspec.Struct, array_like=True, omit_defaults=False):
    """One message, as beehive has it.

    `id` is unique, `parent_id` names the message that this one answers, `timestamp` is in
    milliseconds since the epoch. `content` is JSON-like (None, bool, int, float, str, list,
    dict with str keys) or bytes. `reply_to` is the module that waits for the answer and
    `redelivered` says how often a handler died with this message before: both are the
    channels' own and never leave cloudcore.
    """

    id: str
    parent_id: str
    timestamp: int
    sync: bool
    source: str
    group: str
    operation: str
    resource: str
    content: Any = None
    reply_to: str = ""
    redelivered: int = 0

    @classmethod
    def build(
        cls,
        source: str,
        group: str,
        operation: str,
        resource: str,
        content: Any = None,
        *,
        parent_id: str = "",
        sync: bool = False,
    ) -> Message:
        """Make a new message: a fresh id, and now as its timestamp."""
        return cls(
            new_id(),
            parent_id,
            time.time_ns() // 1_000_000,
            sync,
            source,
            group,
            operation,
            resource,
            content,
        )

    def response(self, content: Any = None, *, source: str = "", group: str = "") -> Message:
        """Make the answer to this message: its id as the parent, operation `response`."""
        return self._answer(OP_RESPONSE, content, source, group)

    def error(self, text: str, *, source: str = "", group: str = "") -> Message:
        """Make an answer that says what went wrong: operation `error`."""
        return self._answer(OP_ERROR, text, source, group)

    def clone(self) -> Message:
        """Copy the message under a new id."""
        return msgspec.structs.replace(self, id=new_id(), redelivered=0)

    def _answer(self, operation: str, content: Any, source: str, group: str) -> Message:
        answer = Message.build(
            source or self.source,
            group or self.group,
            operation,
            self.resource,
            content,
            parent_id=self.id,
        )
        answer.reply_to = self.reply_to
        return answer


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """A message without its content: the fields before it, in the same order."""

    id: str
    parent_id: str
    timestamp: int
    sync: bool
    source: str
    group: str
    operation: str
    resource: str


#: The encoding itself, for those who cannot afford `encode` around it; what it may raise.
encode_message = msgspec.msgpack.Encoder().encode
ENCODING_ERRORS: Final = (TypeError, OverflowError, RecursionError, msgspec.MsgspecError)

#: The same for `decode`.
decode_message = msgspec.msgpack.Decoder(Message).decode
DECODING_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

#: Several messages at once take four fifths of the time that each of them takes alone.
decode_batch = msgspec.msgpack.Decoder(list[Message]).decode
_split_batch = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode

_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


def encode(message: Message) -> bytes:
    """Encode a message; NotAMessage says what in it cannot travel."""
    if type(message) is not Message:
        raise NotAMessage(f"a channel carries ipc.Message, not {type(message).__name__}")
    try:
        return encode_message(message)
    except ENCODING_ERRORS as error:
        raise NotAMessage(
            f"message {message.id} ({message.operation} {message.resource}) has content that is "
            f"not JSON-like: {error}"
        ) from error


def decode(data: bytes | memoryview) -> Message:
    """Decode what `encode` made; anything else is refused with NotAMessage."""
    try:
        return decode_message(data)
    except DECODING_ERRORS as error:
        raise NotAMessage(f"{len(data)} bytes that are not a message: {error}") from error


def encode_batch(messages: Sequence[Message]) -> bytes:
    """Encode several messages as one array; nothing if one of them cannot travel."""
    try:
        if all(type(message) is Message for message in messages):
            return encode_message(messages)
    except ENCODING_ERRORS:
        pass
    return b""


def part_of_batch(data: bytes, left: int) -> bytes:
    """Give one message's own encoding out of a batch, the `left`-th from its end.

    All of it if it is no batch, or has not so many.
    """
    try:
        return bytes(_split_batch(data)[-left])
    except (*DECODING_ERRORS, IndexError):
        return data


def decode_envelope(data: bytes) -> Envelope:
    """Decode all but the content, which is skipped; empty if it is not a message."""
    try:
        return _decode_envelope(data)
    except DECODING_ERRORS:
        return Envelope("", "", 0, False, "", "", "", "")


def _new_prefix() -> str:
    bits = os.urandom(8).hex()
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{os.urandom(2).hex()[1:]}-"


def new_id() -> str:
    """Make a unique id in the form of a version 4 UUID.

    A random part for the process and a count: a tenth of the cost of `uuid.uuid4`, which would
    be a third of what sending a message costs.
    """
    return f"{_prefix}{next(_count):012x}"


def _fresh_ids() -> None:
    global _prefix, _count  # noqa: PLW0603 - a process has one source of ids
    _prefix = _new_prefix()
    _count = itertools.count(1)


_prefix = _new_prefix()
_count = itertools.count(1)
os.register_at_fork(after_in_child=_fresh_ids)

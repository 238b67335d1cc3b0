"""The queue of messages to one edge: bounded, and without states that are out of date.

Messages are queued only while the edge reads slower than the cloud writes. A newer state of an
object then supersedes a queued one, so that the queue holds at most one state for each object. The
newer state goes to the end of the queue: a message never overtakes one that it may depend on.
"""

from __future__ import annotations

from typing import Final

from ipc import Message

_INSERT: Final = "insert"
_UPDATE: Final = "update"
_DELETE: Final = "delete"
# The group of Kubernetes objects. Twin messages are changes (devices added, twins removed), so
# none supersedes another (cloud/pkg/devicecontroller/controller/downstream.go).
_STATES: Final = "resource"

#: One message, encoded as websocket messages.
Frames = tuple[bytes, ...]


class WriteQueue:
    """A FIFO queue, bounded in messages and bytes."""

    __slots__ = ("_max_bytes", "_max_messages", "_queued", "bytes", "superseded")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._queued: dict[str, tuple[str, Frames]] = {}
        self.bytes = 0
        """bytes of all queued messages"""
        self.superseded = 0
        """messages that a newer state replaced"""

    def __len__(self) -> int:
        return len(self._queued)

    def operation_of(self, message: Message) -> str:
        """Return the operation to encode the message with.

        An update that supersedes a queued insert becomes an insert, as the edge has no object.
        """
        if message.operation == _UPDATE and self._superseded_operation(message) == _INSERT:
            return _INSERT
        return message.operation

    def put(self, message: Message, frames: Frames) -> bool:
        """Append a message and drop the state that it supersedes; False if the queue is full.

        A message larger than the limit is accepted when the queue is empty, or it could never be
        sent.
        """
        if self._superseded_operation(message):
            self._remove(message.resource)
            self.superseded += 1
        size = sum(map(len, frames))
        if self._queued and (
            len(self._queued) >= self._max_messages or self.bytes + size > self._max_bytes
        ):
            return False
        key = message.resource
        if key in self._queued or not is_state(message):
            key = f"\0{message.id}"
            while key in self._queued:  # the same message, sent twice
                key += "\0"
        self._queued[key] = message.operation, frames
        self.bytes += size
        return True

    def pop(self) -> Frames:
        """Remove and return the first message; raises KeyError if the queue is empty."""
        return self._remove(next(iter(self._queued), ""))

    def _superseded_operation(self, message: Message) -> str | None:
        """Return the operation of the queued state that `message` supersedes, if there is one.

        A delete is never superseded: the edge has to learn that the old object of that name is
        gone.
        """
        if not is_state(message):
            return None
        operation, _ = self._queued.get(message.resource, (_DELETE, ()))
        return None if operation == _DELETE else operation

    def _remove(self, key: str) -> Frames:
        _, frames = self._queued.pop(key)
        self.bytes -= sum(map(len, frames))
        return frames


def is_state(message: Message) -> bool:
    """Whether a message is the complete state of the object that it names.

    A question is not: the edge's answer refers to its id.
    """
    return (
        message.group == _STATES
        and message.operation in (_INSERT, _UPDATE, _DELETE)
        and not message.reply_to
    )

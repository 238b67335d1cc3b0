"""What waits to be written to one edge: bounded, and without states that are out of date.

Messages wait only while the edge reads slower than the cloud writes. Then a later state of an
object makes an earlier one superfluous, and the queue holds at most one for each object. It is
the later place in the order that counts, so nothing ever passes what it may depend on.
"""

from __future__ import annotations

from typing import Final

from ipc import Message

_INSERT: Final = "insert"
_UPDATE: Final = "update"
_DELETE: Final = "delete"
# The group of Kubernetes objects. Twin messages tell changes (devices added, twins dropped), so
# that each of them counts (cloud/pkg/devicecontroller/controller/downstream.go).
_STATES: Final = "resource"

#: The websocket messages of one message.
Frames = tuple[bytes, ...]


class WriteQueue:
    """A queue, bounded in messages and bytes."""

    __slots__ = ("_max_bytes", "_max_messages", "_waiting", "bytes", "superseded")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._waiting: dict[str, tuple[str, Frames]] = {}
        self.bytes = 0
        """bytes of all that waits"""
        self.superseded = 0
        """messages that a later one made superfluous"""

    def __len__(self) -> int:
        return len(self._waiting)

    def operation_of(self, message: Message) -> str:
        """Say which operation the edge is to see, before the message is encoded.

        An update that replaces an insert which the edge has not seen becomes the insert.
        """
        if message.operation == _UPDATE and self._replaceable(message) == _INSERT:
            return _INSERT
        return message.operation

    def put(self, message: Message, frames: Frames) -> bool:
        """Append, in place of an earlier state of the same object; False if there is no room.

        A message larger than the whole queue is taken when nothing else waits: it could not be
        sent at all otherwise.
        """
        if self._replaceable(message):
            self._take(message.resource)
            self.superseded += 1
        size = sum(map(len, frames))
        if self._waiting and (
            len(self._waiting) >= self._max_messages or self.bytes + size > self._max_bytes
        ):
            return False
        key = message.resource
        if key in self._waiting or not is_state(message):
            key = f"\0{message.id}"
            while key in self._waiting:  # the same message, sent twice
                key += "\0"
        self._waiting[key] = message.operation, frames
        self.bytes += size
        return True

    def pop(self) -> Frames:
        """Take out the first; KeyError if nothing waits."""
        return self._take(next(iter(self._waiting), ""))

    def _replaceable(self, message: Message) -> str | None:
        """Return the operation of the earlier state that `message` replaces, if one waits.

        Nothing takes the place of a delete: the edge has to see that the old object of that
        name is gone.
        """
        if not is_state(message):
            return None
        operation, _ = self._waiting.get(message.resource, (_DELETE, ()))
        return None if operation == _DELETE else operation

    def _take(self, key: str) -> Frames:
        _, frames = self._waiting.pop(key)
        self.bytes -= sum(map(len, frames))
        return frames


def is_state(message: Message) -> bool:
    """Tell whether a message says all there is to say about the object it names.

    One that somebody waits for is an exception: the answer bears its id.
    """
    return (
        message.group == _STATES
        and message.operation in (_INSERT, _UPDATE, _DELETE)
        and not message.reply_to
    )

"""The sending side of a channel in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Concatenate, Final, ParamSpec, Protocol, Self

from ipc.errors import ChannelError, MessageTooLarge
from ipc.message import ENCODING_ERRORS, Message, encode, encode_batch, encode_message
from ipc.ring import layout
from ipc.ring.layout import (
    BATCH,
    MAX_PAYLOAD,
    PAGE,
    RING,
    SENT,
    SLEEPING,
    SLOTS,
    STATE,
    TAIL,
    Segment,
    fence,
)
from ipc.ring.signals import EventFd, EventFdWatch
from ipc.ring.writer import Writer

Figures = ParamSpec("Figures")

#: Where a slot's first record begins in its mapping, behind the record's word.
_FIRST: Final = PAGE + 8

#: Bytes up to which messages are encoded as one batch: larger batches gain nothing.
_BATCH_BYTES: Final = 64 * 1024
_ARRAY: Final = 3  # bytes of a MessagePack array's header

#: An encoded batch, and its number of messages.
Batch = tuple[bytes, int]


class TryPut(Protocol):
    """Function that puts a message if there is room.

    `prefer_slot` is the slot to claim if the process has none yet.
    """

    def __call__(self, message: Message, prefer_slot: int = 0) -> bool: ...


class Sender:
    """The sending end of a channel in this process. It is thread-safe."""

    def __init__(self, segment: Segment, arrived: EventFd, capacity: int) -> None:
        self._segment = segment
        self._words = segment.words
        self._arrived = arrived
        self._capacity = capacity
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._waiting = 0

    def putter(self, unavailable: Callable[[], ChannelError]) -> TryPut:
        """Return the function that puts one message, for `Channel.try_put`.

        It is a single frame, since each further call would cost as much as a copy of the message
        does. Its order of stores keeps a message safe from SIGKILL (ipc/ring/writer.py).
        """
        shared, signal = self._words, self._arrived.signal
        acquire, release = self._lock.acquire, self._lock.release
        weak_memory = layout.WEAK_MEMORY

        def try_put(message: Message, prefer_slot: int = 0) -> bool:
            if type(message) is not Message:
                encode(message)  # raises
            try:
                payload = encode_message(message)
            except ENCODING_ERRORS:
                payload = encode(message)  # raises
            length = len(payload)
            if length > MAX_PAYLOAD:
                raise too_large(message, length)
            if shared[STATE]:
                raise unavailable()
            acquire()
            try:
                size = (length + 15) & ~7  # record_size, inlined
                writer = self._writer or self._claim(prefer_slot)
                written = writer.tail + size <= writer.limit or writer.make_room(size)
                if written:
                    tail = writer.tail
                    place = tail % RING
                    start = _FIRST + place
                    writer.mapping[start : start + length] = payload
                    writer.lengths[place >> 3] = length
                    if weak_memory:
                        fence()
                    words = writer.words
                    words[TAIL] = writer.tail = tail + size
                    words[SENT] = writer.sent = writer.sent + 1
            finally:
                release()
            if weak_memory:
                fence()  # on x86-64 releasing the lock is a fence
            if shared[SLEEPING]:
                signal()
            return written

        return try_put

    def put_batch(
        self, batch: Batch, unavailable: Callable[[], ChannelError], prefer_slot: int
    ) -> bool:
        """Put an encoded batch, all of it or nothing; False if there is no room."""
        if self._words[STATE]:
            raise unavailable()
        with self._lock:
            writer = self._writer or self._claim(prefer_slot)
            written = writer.write_batch(*batch)
        if layout.WEAK_MEMORY:
            fence()
        if self._words[SLEEPING]:
            self._arrived.signal()
        return written

    def await_room(self, room: EventFd) -> EventFdWatch:
        """Ask the reader for a signal; put once more before sleeping on the returned watch."""
        watch = EventFdWatch(room)
        with self._lock:
            self._waiting += 1
            if self._writer:
                self._writer.await_room(waiting=True)
        return watch

    def forget_room(self, watch: EventFdWatch) -> None:
        """End what `await_room` began."""
        watch.close()
        with self._lock:
            self._waiting -= 1
            if self._writer and not self._waiting:
                self._writer.await_room(waiting=False)

    def count(
        self,
        what: Callable[Concatenate[memoryview, Figures], None],
        *figures: Figures.args,
        **keywords: Figures.kwargs,
    ) -> None:
        """Update counters in this process's slot, if it has one; no other process writes to it."""
        with self._lock:
            if self._writer:
                what(self._writer.words, *figures, **keywords)

    def _claim(self, prefer: int) -> Writer:
        """Claim a slot for this process: the preferred one, or any other that is free.

        A replacement that claims its predecessor's slot preserves the order of their messages.
        """
        for index in (prefer, *(i for i in range(SLOTS) if i != prefer)):
            if self._segment.lock(index):
                self._writer = Writer(self._segment.slot(index), self._capacity)
                self._words[layout.CLAIMS + index] = 1
                return self._writer
        raise ChannelError(f"cannot send through this channel: {SLOTS} processes do so already")


class Putting:
    """The state of one `put_many`: messages are encoded and put up to BATCH at a time.

    Calling it puts as many as there is room for, and returns whether these were all that were
    left. An exception that leaves its `with` block gets a note with the number of messages put.
    """

    def __init__(self, messages: Sequence[Message], put: Callable[[Batch], bool]) -> None:
        self._of = len(messages)
        self._batches = _batches(messages)
        self._batch: Batch | None = None
        self._put = put
        self.count = 0
        """messages put so far"""

    def __call__(self) -> bool:
        while batch := self._batch or next(self._batches, None):
            self._batch = batch
            if not self._put(batch):
                return False
            self.count += batch[1]
            self._batch = None
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error:
            error.add_note(f"{self.count} of {self._of} messages were sent before")


def _batches(messages: Sequence[Message]) -> Iterator[Batch]:
    """Encode messages in batches, each up to BATCH messages and about _BATCH_BYTES.

    A message that cannot be sent raises its error after the messages before it have been yielded.
    """
    position = 0
    while position < len(messages):
        message = messages[position]
        length = len(encode(message))
        if length > MAX_PAYLOAD:
            raise too_large(message, length)
        some = messages[position : position + max(1, min(BATCH, _BATCH_BYTES // length))]
        payload = encode_batch(some)
        if not 0 < len(payload) <= MAX_PAYLOAD + _ARRAY:
            some = [message]
            payload = encode_batch(some)
        yield payload, len(some)
        position += len(some)


def too_large(message: Message, length: int) -> MessageTooLarge:
    """Return the error for a message that is larger than MAX_PAYLOAD."""
    return MessageTooLarge(
        f"cannot send message {message.id} ({message.operation} {message.resource}): it has "
        f"{length} bytes; a channel carries up to {MAX_PAYLOAD}"
    )

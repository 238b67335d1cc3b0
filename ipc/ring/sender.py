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

#: Messages are put together up to so many bytes: larger ones gain nothing from it.
_BATCH_BYTES: Final = 64 * 1024
_ARRAY: Final = 3  # bytes that make an array of messages

#: An encoded batch, and how many messages are in it.
Batch = tuple[bytes, int]


class TryPut(Protocol):
    """Puts a message if there is room; `prefer_slot` is for a process that has none yet."""

    def __call__(self, message: Message, prefer_slot: int = 0) -> bool: ...


class Sender:
    """Puts messages into this process's slot; any thread may."""

    def __init__(self, segment: Segment, arrived: EventFd, capacity: int) -> None:
        self._segment = segment
        self._words = segment.words
        self._arrived = arrived
        self._capacity = capacity
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._waiting = 0

    def putter(self, unavailable: Callable[[], ChannelError]) -> TryPut:
        """Make the function that puts a message: everything that one send costs.

        It is one frame because each call more would cost as much as copying the message. The
        order of its stores is what makes a message safe (ipc/ring/writer.py).
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
                size = (length + 15) & ~7  # record_size, spelled out
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
                fence()  # elsewhere releasing the lock was one
            if shared[SLEEPING]:
                signal()
            return written

        return try_put

    def put_batch(
        self, batch: Batch, unavailable: Callable[[], ChannelError], prefer_slot: int
    ) -> bool:
        """Put several encoded messages at once if there is room: all are safe then, or none."""
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
        """Begin to wait for room: try once more before sleeping on the result."""
        watch = EventFdWatch(room)
        with self._lock:
            self._waiting += 1
            if self._writer:
                self._writer.await_room(waiting=True)
        return watch

    def forget_room(self, watch: EventFdWatch) -> None:
        """End a wait that `await_room` began."""
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
        """Keep count of something in this process's slot: nobody else writes there."""
        with self._lock:
            if self._writer:
                what(self._writer.words, *figures, **keywords)

    def _claim(self, prefer: int) -> Writer:
        """Take a slot for this process: the one it prefers, or any other that is free.

        A replacement that goes on in its predecessor's slot keeps the order of what they send.
        """
        for index in (prefer, *(i for i in range(SLOTS) if i != prefer)):
            if self._segment.lock(index):
                self._writer = Writer(self._segment.slot(index), self._capacity)
                self._words[layout.CLAIMS + index] = 1
                return self._writer
        raise ChannelError(f"{SLOTS} processes send to this channel already; no slot is free")


class Putting:
    """Many messages on their way into a channel, encoded and put up to BATCH at a time.

    Called, it puts what there is room for and says whether that was all. An error that leaves
    its `with` is given a note on how many were put.
    """

    def __init__(self, messages: Sequence[Message], put: Callable[[Batch], bool]) -> None:
        self._of = len(messages)
        self._batches = _batches(messages)
        self._batch: Batch | None = None
        self._put = put
        self.count = 0
        """how many have been put"""

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
    """Encode messages, as many at once as the first one's size makes good.

    One that cannot travel raises its error when those before it are put.
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
    """Make the error for a message that no channel carries."""
    return MessageTooLarge(
        f"message {message.id} ({message.operation} {message.resource}) has "
        f"{length} bytes; a channel carries up to {MAX_PAYLOAD}"
    )

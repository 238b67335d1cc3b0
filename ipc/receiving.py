"""The receiving side of a channel: one process at a time, all senders in turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from ipc import segment as layout
from ipc.errors import ChannelError, NotAMessage
from ipc.message import Message, decode
from ipc.ring import Reader
from ipc.segment import READER_LOCK, RING, SKIP, Segment, fence
from ipc.waiting import Event, Watch

_BURST: Final = 64 * 1024  # bytes of one sender that are handed out before the next one's turn

_FREE_STEP: Final = 64 * 1024

#: Told of a message that is set aside: its encoding, how often it was delivered, why.
SetAside = Callable[[bytes, int, str], None]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was taken, to be handled at any pace beside others.

    Until `done` is called the message stays in the channel: if this process dies, its
    successor gets it again. Deliveries may be done in any order.
    """

    message: Message
    _reader: Reader
    _position: int
    _end: int

    def done(self) -> None:
        """Say that the message is handled: it will not be delivered again."""
        self._reader.done(self._position, self._end)


class Receiver:
    """Hands out the channel's messages; claims the channel's reading end for this process."""

    def __init__(
        self,
        segment: Segment,
        arrived: Event,
        room: Event,
        *,
        capacity: int,
        max_deliveries: int,
        set_aside: SetAside,
    ) -> None:
        if not segment.lock(READER_LOCK):
            pid = segment.words[layout.READER_PID]
            raise ChannelError(f"the channel has a reader already: process {pid}")
        segment.words[layout.READER_PID] = os.getpid()
        self._segment = segment
        self._words = segment.words
        self._room = room
        self._free_step = min(_FREE_STEP, capacity // 4)
        self._max_deliveries = max_deliveries
        self._set_aside = set_aside
        self._readers: dict[int, Reader] = {}
        self._claimed = b""
        self._order: list[Reader] = []
        self._lock = threading.Lock()
        self._last: tuple[Reader, int, int] | None = None
        self._taken = False
        self._next = self._messages().__next__
        self._arrivals = Watch(arrived)

    def try_get(self) -> Message | None:
        """Hand out the next message, or None; acknowledges the one before it."""
        with self._lock:
            return self._next()

    def try_take(self) -> Delivery | None:
        """Hand out the next message, or None, to be acknowledged by its own `done`."""
        with self._lock:
            message = self._next()
            if message is None or self._last is None:
                return None
            self._taken = True
            return Delivery(message, *self._last)

    def acknowledge(self) -> None:
        """Acknowledge what `try_get` handed out, without asking for more."""
        with self._lock:
            if self._last and not self._taken:
                self._taken = True
                self._last[0].done(*self._last[1:])

    def pending(self) -> bool:
        """Whether there is something that has not been handed out."""
        return any(reader.tail() != reader.cursor for reader in self._active_readers())

    def await_arrivals(self) -> Watch:
        """Begin to wait for messages: try once more before sleeping on the result."""
        self._words[layout.SLEEPING] = 1
        fence()
        return self._arrivals

    def awake(self) -> None:
        """End a wait that `await_arrivals` began: senders need not signal."""
        self._words[layout.SLEEPING] = 0

    def _messages(self) -> Iterator[Message | None]:
        """Yield message after message, and None whenever there is none.

        Being resumed means that the message yielded last is handled, unless it was taken.
        """
        while True:
            idle = True
            for reader in self._active_readers():
                cursor = reader.cursor
                stop = min(reader.tail(), cursor + _BURST)
                if cursor == stop:
                    continue
                idle = False
                data, lengths, words = reader.data, reader.lengths, reader.words
                while cursor < stop:
                    place = cursor % RING
                    word = lengths[place >> 3]
                    if word == SKIP:
                        cursor = reader.skip()
                        continue
                    length = word & layout.LENGTH
                    start, cursor = cursor, cursor + ((length + 15) & ~7)
                    reader.cursor = cursor
                    if word == length:
                        lengths[place >> 3] = word + layout.DELIVERY
                        try:
                            message = decode(data[place + 8 : place + 8 + length])
                        except NotAMessage as error:
                            self._refuse(reader, start, cursor, 0, str(error))
                            continue
                    else:
                        again = self._again(reader, start, cursor)
                        if again is None:
                            continue
                        message = again
                    self._last = (reader, start, cursor)
                    yield message
                    if self._taken:
                        self._taken = False
                    elif reader.head == start:
                        reader.head = words[layout.HEAD] = cursor
                        reader.handled = words[layout.HANDLED] = reader.handled + 1
                        if cursor - reader.freed >= reader.free_step:
                            reader.free()
                    else:
                        reader.done(start, cursor)
            if idle:
                self._last = None
                for reader in self._readers.values():
                    reader.free()
                yield None

    def _again(self, reader: Reader, start: int, end: int) -> Message | None:
        """Hand out what a predecessor died with, unless it was done or has died too often."""
        word = reader.word(start)
        if word & layout.DONE:
            reader.pass_done()
            return None
        before = (word >> layout.DELIVERIES_SHIFT) & layout.DELIVERIES
        if before >= self._max_deliveries:
            reason = f"{before} times the module died while it handled this message"
            self._refuse(reader, start, end, before, reason)
            return None
        reader.set_word(start, word + layout.DELIVERY)
        try:
            message = decode(reader.payload(start))
        except NotAMessage as error:
            self._refuse(reader, start, end, before, str(error))
            return None
        message.redelivered = before
        self._words[layout.REDELIVERED] += 1
        return message

    def _refuse(self, reader: Reader, start: int, end: int, deliveries: int, reason: str) -> None:
        self._set_aside(bytes(reader.payload(start)), deliveries, reason)
        self._words[layout.DEAD_LETTERS] += 1
        reader.done(start, end)

    def _active_readers(self) -> list[Reader]:
        claimed = self._segment.claimed()
        if claimed != self._claimed:
            self._claimed = claimed
            for index in self._segment.used_slots():
                if index not in self._readers:
                    slot = self._segment.slot(index)
                    self._readers[index] = Reader(slot, self._room.signal, self._free_step)
            self._order = list(self._readers.values())
        return self._order

"""The receiving side of a channel: one process at a time, all senders in turns."""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Final

from ipc.errors import ChannelError, NotAMessage
from ipc.message import DECODING_ERRORS, Message, decode, decode_message
from ipc.ring import layout
from ipc.ring.layout import READER_LOCK, RING, Segment, fence
from ipc.ring.reader import Reader
from ipc.ring.signals import EventFd, EventFdWatch

_BURST: Final = 64 * 1024  # bytes of one sender that are handed out before the next one's turn

_FREE_STEP: Final = 64 * 1024

#: Told of a message that is set aside: its encoding, how often it was delivered, why.
SetAside = Callable[[bytes, int, str], None]


class Delivery:
    """A message that was taken, to be handled at any pace beside others.

    Until `done` is called the message stays in the channel: if this process dies, its
    successor gets it again. Deliveries may be done in any order, by any thread.
    """

    __slots__ = ("_receiver", "_record", "message")

    def __init__(
        self, message: Message, receiver: Receiver, record: tuple[Reader, int, int]
    ) -> None:
        self.message = message
        self._receiver = receiver
        self._record = record

    def done(self) -> None:
        """Say that the message is handled: it will not be delivered again.

        Said a second time it means nothing.
        """
        self._receiver.done(self._record)


def _deliveries(word: int) -> int:
    return (word >> layout.DELIVERIES_SHIFT) & layout.DELIVERIES


class Receiver:
    """Hands out the channel's messages; claims the channel's reading end for this process.

    A message whose next death would make it a dead letter is handed out alone: not before all
    that was taken is done, and nothing else before it is. So when the process dies with it, it
    was this message and no other, however many are handled at a time.
    """

    def __init__(
        self,
        segment: Segment,
        arrived: EventFd,
        room: EventFd,
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
        self._arrived = arrived
        self._room = room
        self._free_step = min(_FREE_STEP, capacity // 4)
        self._max_deliveries = max_deliveries
        self._set_aside = set_aside
        self._readers: dict[int, Reader] = {}
        self._claimed = b""
        self._order: list[Reader] = []
        self._lock = threading.Lock()
        self._last: tuple[Reader, int, int] | None = None
        self._many: tuple[Reader, int, int, int] | None = None  # the same, and how many
        self._taken = False
        self._in_flight = 0  # taken and not done
        self._blocked = False  # until nothing is in hand
        self._messages = self._hand_out()
        self._next = self._messages.__next__
        self._arrivals = EventFdWatch(arrived)

    def try_get(self) -> Message | None:
        """Hand out the next message, or None; acknowledges the one before it."""
        if self._in_flight:
            with self._lock:
                return self._step()
        try:
            return self._next()
        except BaseException as error:
            self._recover(error)
            return self.try_get()

    def try_get_many(self, most: int) -> list[Message] | None:
        """Hand out up to `most` messages of one sender, or None; acknowledges those before.

        They are in hand together, like messages that were taken. One whose next death would
        make it a dead letter is handed out alone here too.
        """
        with self._lock:
            message = self._step()
            if message is None or self._last is None:
                return None
            reader, start, end = self._last
            if _deliveries(reader.word(start)) >= self._max_deliveries:
                return [message]
            more, end = reader.hand_out_more(end, most - 1)
            if more:
                reader.cursor = end
                self._taken = True
                self._many = (reader, start, end, 1 + len(more))
                self._next = self._after_many
            return [message, *more]

    def try_take(self) -> Delivery | None:
        """Hand out the next message, or None, to be acknowledged by its own `done`."""
        with self._lock:
            message = self._step()
            if message is None or self._last is None:
                return None
            self._taken = True
            self._in_flight += 1
            return Delivery(message, self, self._last)

    def done(self, record: tuple[Reader, int, int]) -> None:
        """Acknowledge one that was taken."""
        reader, position, end = record
        with self._lock:
            if not reader.done(position, end):
                return
            self._in_flight -= 1
            if self._in_flight or not self._blocked:
                return
        self._arrived.signal()

    def acknowledge(self) -> None:
        """Acknowledge what `try_get` handed out, without asking for more."""
        with self._lock:
            if self._many:
                self._acknowledge_many()
            elif self._last and not self._taken:
                self._taken = True
                self._last[0].done(*self._last[1:])

    def _after_many(self) -> Message | None:
        self._acknowledge_many()
        return self._next()

    def _acknowledge_many(self) -> None:
        if self._many:
            reader, *what = self._many
            reader.done_all(*what)
            self._many = None
            self._next = self._messages.__next__

    def pending(self) -> bool:
        """Whether there is something that can be handed out."""
        if self._blocked and self._in_flight:
            return False
        return any(reader.tail() != reader.cursor for reader in self._active_readers())

    def await_arrivals(self) -> EventFdWatch:
        """Begin to wait for messages: try once more before sleeping on the result."""
        self._words[layout.SLEEPING] = 1
        fence()
        return self._arrivals

    def awake(self) -> None:
        """End a wait that `await_arrivals` began: senders need not signal."""
        self._words[layout.SLEEPING] = 0

    def _step(self) -> Message | None:
        while True:
            try:
                return self._next()
            except BaseException as error:
                self._recover(error)

    def _recover(self, error: BaseException) -> None:
        """Let another thread be done with the generator, or begin a new one and raise."""
        if inspect.getgeneratorstate(self._messages) == inspect.GEN_RUNNING:
            time.sleep(0)
            return
        self._messages = self._hand_out()  # one that has raised is at its end
        self._taken = False
        self._next = self._after_many if self._many else self._messages.__next__
        raise error

    def _hand_out(self) -> Generator[Message | None, None, None]:
        """Yield message after message, and None whenever there is none.

        Being resumed means that the message yielded last is handled, unless it was taken.
        """
        shared = self._max_deliveries > 1  # whether a first delivery may be beside others
        while True:
            readers = [reader for reader in self._active_readers() if reader.finds_more()]
            if not readers:
                self._last = None
                yield None
            for reader in readers:
                cursor = reader.cursor
                stop = min(reader.tail(), cursor + _BURST)
                lap_end = reader.lap_end()
                data, lengths, words = reader.data, reader.lengths, reader.words
                while cursor < stop:
                    if cursor == lap_end:
                        cursor = reader.begin_lap()
                    place = cursor % RING
                    word = lengths[place >> 3]
                    start = cursor
                    if word == word & layout.FRESH and shared:
                        alone = False
                        lengths[place >> 3] = word + layout.HAND_OUT
                        single = word < layout.MEMBER
                        cursor = start + ((word + 15) & ~7) if single else reader.end(start)
                        reader.cursor = cursor
                        try:
                            message = (
                                decode_message(data[place + 8 : place + 8 + word])
                                if single
                                else reader.message(start)
                            )
                        except DECODING_ERRORS:
                            self._refuse_unreadable(reader, start, cursor, 0)
                            continue
                    else:
                        reader.cursor = cursor = reader.end(start)
                        alone = self._is_last_chance(word)
                        if alone:
                            yield from self._until_nothing_is_in_flight()
                        again = self._again(reader, start, cursor)
                        if again is None:
                            continue
                        message = again
                    self._last = (reader, start, cursor)
                    yield message
                    if self._taken:
                        # Others may have been handed out with it.
                        self._taken, cursor = False, reader.cursor
                        if alone:
                            yield from self._until_nothing_is_in_flight()
                    elif reader.head == start:
                        reader.head = words[layout.HEAD] = cursor
                        reader.handled = words[layout.HANDLED] = reader.handled + 1
                        if cursor - reader.freed >= reader.free_step:
                            reader.free()
                    else:
                        reader.done(start, cursor)

    def _is_last_chance(self, word: int) -> bool:
        """Whether a record's next delivery is its last, for which it has to be alone."""
        return not word & layout.DONE and _deliveries(word) == self._max_deliveries - 1

    def _until_nothing_is_in_flight(self) -> Iterator[None]:
        while self._in_flight:
            self._blocked = True
            self._last = None
            yield None
        self._blocked = False

    def _again(self, reader: Reader, start: int, end: int) -> Message | None:
        """Hand out what predecessors died with, unless it was done or they died too often."""
        word = reader.word(start)
        if word & layout.DONE:
            reader.pass_done()
            return None
        before = _deliveries(word)
        if before >= self._max_deliveries:
            reason = f"{before} times the module died while it handled this message"
            self._refuse(reader, start, end, before, reason)
            return None
        reader.set_word(start, (word + layout.DELIVERY) | layout.HELD)
        try:
            message = reader.message(start)
        except DECODING_ERRORS:
            self._refuse_unreadable(reader, start, end, before)
            return None
        if before:
            message.redelivered = before
            self._words[layout.REDELIVERED] += 1
        return message

    def _refuse_unreadable(self, reader: Reader, start: int, end: int, deliveries: int) -> None:
        try:
            decode(reader.payload(start))
        except NotAMessage as error:
            self._refuse(reader, start, end, deliveries, str(error))

    def _refuse(self, reader: Reader, start: int, end: int, deliveries: int, reason: str) -> None:
        try:
            self._set_aside(reader.payload(start), deliveries, reason)
        except OSError:
            reader.cursor = start  # it stays in the channel
            raise
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

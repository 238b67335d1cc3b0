"""The receiving side of a channel: one process at a time, its senders in round robin.

A reader's guide to `Receiver._hand_out`
========================================

One generator per reading process yields the messages, and None while there is nothing to hand
out. It is suspended at a `yield` between two calls of `try_get`, `try_get_many` or `try_take`.
Resuming it acknowledges the message yielded last, unless `_taken` is set. A generator is used
because it keeps its place (reader, cursor, end of the turn) in local variables: the usual
message costs one resumption and no call.

What holds while it is suspended, by what the last call did:

    last call      nothing to      try_get        try_get_many        try_take
                   hand out                       (of 2 or more)
    -------------  --------------  -------------  ------------------  ------------------
    _last          None            the record     the first record    the record
    _taken         False           False          True                True
    _many          None            None           the whole range     None
    _next          __next__        __next__       _after_many         __next__
    the next call  looks again     acknowledges   acknowledges _many  acknowledges nothing:
                                   _last          (_after_many)       Delivery.done does

- `_last` is `(reader, start, end)` of the record yielded last.
- `_taken` means that the next resumption acknowledges nothing; the generator then resets it.
  `acknowledge` sets it as well, since it has acknowledged the message already.
- `_many` is `(reader, start, end, count)` of a range that is acknowledged together. A
  `try_get_many` that returns a single message leaves the state of `try_get`.
- `_next` is what receives: the generator's `__next__`, or `_after_many` while `_many` is set.
- `_in_flight` counts the Deliveries that are not done, whatever the last call was. Messages of
  `try_get` and `try_get_many` are not counted: the next call acknowledges them anyway.
- `_blocked` is True only while the generator yields None for the sake of isolation: a message on
  its last delivery attempt waits for `_in_flight` to become 0, or is itself in flight. Then
  `pending` is False, and the `done` that brings `_in_flight` to 0 signals the waiting reader.
- `reader.cursor` is the end of the record yielded last, or of the range. It is stored before the
  `yield`: `hand_out_more`, and a new generator after an exception, continue from there.

Isolation: a record with one delivery left (`_is_last_chance`) is handed out when nothing
else is in flight, and nothing else is handed out until it is acknowledged.

`_lock` protects all of this from `Delivery.done` in other threads. `try_get` needs it only
while Deliveries are in flight.
"""

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

#: Bytes handed out from one sender before it is the next one's turn.
_BURST: Final = 64 * 1024

#: Bytes acknowledged before their room is given back to the writer, at most.
_FREE_STEP: Final = 64 * 1024

#: Called with a message that is set aside: its encoding, its number of deliveries, the reason.
SetAside = Callable[[bytes, int, str], None]


class Delivery:
    """A message in flight, which is handled concurrently with others.

    Until `done` is called the message stays in the channel: if this process dies, the message is
    delivered again to its successor. Any thread may call `done`, in any order of the messages.
    """

    __slots__ = ("_receiver", "_record", "message")

    def __init__(
        self, message: Message, receiver: Receiver, record: tuple[Reader, int, int]
    ) -> None:
        self.message = message
        self._receiver = receiver
        self._record = record

    def done(self) -> None:
        """Acknowledge the message: it will not be delivered again.

        Calling it again has no effect.
        """
        self._receiver.done(self._record)


def _deliveries(word: int) -> int:
    return (word >> layout.DELIVERIES_SHIFT) & layout.DELIVERIES


class Receiver:
    """The reading end of a channel, claimed for this process.

    A message on its last delivery attempt is handed out in isolation: only when nothing else is in
    flight, and alone until it is acknowledged. If the process dies then, this message and no
    other is the poison message, however many messages are usually in flight.

    Raises ChannelError if another living process reads the channel.
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
            raise ChannelError(f"cannot read from the channel: process {pid} is reading from it")
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
        self._many: tuple[Reader, int, int, int] | None = None
        self._taken = False
        self._in_flight = 0
        self._blocked = False
        self._messages = self._hand_out()
        self._next = self._messages.__next__
        self._arrivals = EventFdWatch(arrived)

    def try_get(self) -> Message | None:
        """Return the next message, or None; acknowledge the one before it."""
        if self._in_flight:
            with self._lock:
                return self._step()
        try:
            return self._next()
        except BaseException as error:
            self._recover(error)
            return self.try_get()

    def try_get_many(self, most: int) -> list[Message] | None:
        """Return up to `most` messages of one sender, or None; acknowledge those before them.

        They are in flight together. A message in isolation is returned alone.
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
        """Return the next message, or None; it is acknowledged by its own `done`."""
        with self._lock:
            message = self._step()
            if message is None or self._last is None:
                return None
            self._taken = True
            self._in_flight += 1
            return Delivery(message, self, self._last)

    def done(self, record: tuple[Reader, int, int]) -> None:
        """Acknowledge a message that `try_take` returned."""
        reader, position, end = record
        with self._lock:
            if not reader.done(position, end):
                return
            self._in_flight -= 1
            if self._in_flight or not self._blocked:
                return
        self._arrived.signal()

    def acknowledge(self) -> None:
        """Acknowledge what `try_get` or `try_get_many` returned, without receiving more."""
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
        """Whether there is a message that can be handed out now."""
        if self._blocked and self._in_flight:
            return False
        return any(reader.tail() != reader.cursor for reader in self._active_readers())

    def await_arrivals(self) -> EventFdWatch:
        """Ask senders for a signal; receive once more before sleeping on the returned watch."""
        self._words[layout.SLEEPING] = 1
        fence()
        return self._arrivals

    def awake(self) -> None:
        """End what `await_arrivals` began: senders need not signal."""
        self._words[layout.SLEEPING] = 0

    def _step(self) -> Message | None:
        while True:
            try:
                return self._next()
            except BaseException as error:
                self._recover(error)

    def _recover(self, error: BaseException) -> None:
        """Yield to the thread that is running the generator, or replace it and raise its error."""
        if inspect.getgeneratorstate(self._messages) == inspect.GEN_RUNNING:
            time.sleep(0)
            return
        self._messages = self._hand_out()  # a generator that has raised is finished
        self._taken = False
        self._next = self._after_many if self._many else self._messages.__next__
        raise error

    def _hand_out(self) -> Generator[Message | None, None, None]:
        """Yield the messages, and None whenever there is none; see the guide above.

        The record layout and `Reader.done` are inlined: a call costs as much as decoding.
        """
        shared = self._max_deliveries > 1  # if not, every delivery is in isolation
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
                        # try_get_many may have moved the cursor.
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
        """Whether a record's next delivery is its last one, which happens in isolation."""
        return not word & layout.DONE and _deliveries(word) == self._max_deliveries - 1

    def _until_nothing_is_in_flight(self) -> Iterator[None]:
        while self._in_flight:
            self._blocked = True
            self._last = None
            yield None
        self._blocked = False

    def _again(self, reader: Reader, start: int, end: int) -> Message | None:
        """Return a message to deliver again; None if it was acknowledged or is set aside now."""
        word = reader.word(start)
        if word & layout.DONE:
            reader.pass_done()
            return None
        before = _deliveries(word)
        if before >= self._max_deliveries:
            reason = f"the module died {before} times while it handled this message"
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
            reader.cursor = start  # the message stays in the channel
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

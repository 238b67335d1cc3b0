"""A channel: a multiprocessing queue that survives SIGKILL of its senders and of its reader.

It is created by one process (the supervisor) and passed to others as an argument of
`multiprocess.Process`, with the start methods fork, spawn and forkserver. Up to SLOTS processes
put, one at a time gets. Each sending process has a slot of the shared memory of its own, so no
sender can stop or delay another.

    sending processes         shared memory (memfd)     reading process

    +---------+  +--------+  +--------------------+  +--------+  +----------+  +---------+
    | Channel |  | Sender |  | slot 0: its words, |  | Reader |  |          |  | Channel |
    | .put()  |->| Writer |->| a ring of records  |->|        |->|          |->| .get()  |
    +---------+  +--------+  +--------------------+  +--------+  | Receiver |  +---------+
    +---------+  +--------+  +--------------------+  +--------+  |          |
    | .put()  |->| Writer |->| slot 1             |->| Reader |->|          |-> dead letters
    +---------+  +--------+  +--------------------+  +--------+  +----------+   (files)

Channel.put() is called:
 1. `try_put` (ring/sender.py) encodes the message (message.py). It raises if the message cannot be
    encoded or is too large, or if the channel's state is not OPEN.
 2. The first time, it claims a slot: the record lock of one byte of the memfd (ring/layout.py).
 3. If the record would end after `limit`, `Writer.make_room` (ring/writer.py) reads FREED, moves
    `limit`, and begins a new lap of the ring where one is due.
 4. It stores the payload, the record's word, and TAIL. After TAIL no SIGKILL loses the message.
 5. If the reader sleeps (SLEEPING), it signals the eventfd `arrived` (ring/signals.py).
 6. If there was no room, `put` sets WAITING, tries again, and sleeps on the eventfd `room` between
    further attempts; it raises ChannelFull after the timeout.

Channel.get() is called:
 1. The first time, `Receiver` (ring/receiver.py) acquires the reader's lock. A `Reader`
    (ring/reader.py) of each used slot starts at HEAD, with what a killed predecessor had not
    acknowledged.
 2. Being called acknowledges the message returned before: HEAD moves past it, and now and then
    FREED as well. If the sender waits for room (WAITING), `room` is signalled.
 3. `_hand_out` takes the slots in turn. It counts the delivery in the record's word and decodes
    the message.
 4. A message on its last delivery attempt is delivered in isolation. One that has had
    `max_deliveries`, or that cannot be decoded, is written to the DeadLetterBox
    (dead_letters.py) and acknowledged.
 5. If there is no message, `get` sets SLEEPING, looks once more, and sleeps on `arrived`.

Contexts (contexts/) find a module's channels in the ChannelRegistry (registry.py). AsyncContext
takes the same steps, but waits in the event loop in place of sleeping.
"""

from __future__ import annotations

import enum
import os
import queue
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ipc.dead_letters import DeadLetterBox
from ipc.errors import ChannelError, ChannelFull, Closed, ModuleUnavailable
from ipc.message import Message
from ipc.ring import in_flight, layout, statistics
from ipc.ring.in_flight import InFlight
from ipc.ring.layout import BATCH, MAX_CAPACITY, MIB, Segment
from ipc.ring.receiver import Receiver
from ipc.ring.sender import Batch, Putting, Sender, TryPut
from ipc.ring.signals import Deadline, EventFd
from ipc.ring.statistics import ChannelStatistics

DEFAULT_CAPACITY: Final = 8 * MIB
DEFAULT_MAX_DELIVERIES: Final = 3
_SMALL: Final = 512  # bytes


class ChannelState(enum.IntEnum):
    """Whether the module is going to read; the supervisor sets it, and senders check it."""

    OPEN = 0
    STOPPED = 1
    FAILED = 2
    DISABLED = 3


class Channel:
    """A queue of messages to one reader, with the interface of `multiprocessing.Queue`.

    `capacity` is the number of bytes that each sender may have in the channel; a single larger
    message passes if nothing else is waiting. `max_deliveries`, 1 to 255, is the number of readers
    that may die with a message before it becomes a dead letter in the directory `dead_letters`;
    without a directory the message is only counted. Raises ValueError.
    """

    def __init__(
        self,
        name: str = "",
        *,
        capacity: int = DEFAULT_CAPACITY,
        max_deliveries: int = DEFAULT_MAX_DELIVERIES,
        dead_letters: Path | None = None,
    ) -> None:
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ValueError(f"capacity must be 1 to {MAX_CAPACITY} bytes, not {capacity}")
        if not 1 <= max_deliveries <= layout.DELIVERIES:
            raise ValueError(
                f"max_deliveries must be 1 to {layout.DELIVERIES}, not {max_deliveries}"
            )
        self.name = name
        self.capacity = capacity
        self.max_deliveries = max_deliveries
        self.dead_letters = dead_letters
        self._segment = Segment.create(name)
        self._arrived = EventFd()
        self._room = EventFd()
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        from multiprocess import context, reduction

        context.assert_spawning(self)
        kept = ("name", "capacity", "max_deliveries", "dead_letters")
        return {
            **{k: getattr(self, k) for k in kept},
            "fds": [reduction.DupFd(fd) for fd in self.filenos()],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        memory, arrived, room = (fd.detach() for fd in state.pop("fds"))
        self.__dict__.update(state)
        self._segment = Segment(memory)
        self._arrived, self._room = EventFd(arrived), EventFd(room)
        self._begin()

    def _begin(self) -> None:
        """Initialize what is per process: in a new channel, and after fork.

        `try_put` and `try_get` are attributes, and `try_get` replaces itself when it is first
        called: a method that calls another would cost a frame for each message.
        """
        self._closed = False
        self._sender = Sender(self._segment, self._arrived, self.capacity)
        self._receiver: Receiver | None = None
        self.try_put = self._sender.putter(self._unavailable)
        self.try_get = self._first_get
        _channels.add(self)

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors that a process needs to use the channel."""
        return (self._segment.fd, self._arrived.fd, self._room.fd)

    # Sending

    try_put: TryPut
    """Put the message if there is room, and return whether there was; no SIGKILL loses it then.

    Raises ModuleUnavailable, MessageTooLarge, NotAMessage, Closed.
    """

    def _unavailable(self) -> ChannelError:
        reason = self.state.name.lower()
        return ModuleUnavailable(f"cannot send to {self.name!r}: the module is {reason}")

    def _closed_error(self) -> Closed:
        return Closed(f"channel {self.name!r} was closed in this process")

    def put(
        self,
        message: Message,
        block: bool = True,
        timeout: float | None = None,
        prefer_slot: int = 0,
    ) -> None:
        """Put the message; raises ChannelFull after `timeout` seconds without room."""
        if not self.try_put(message, prefer_slot):
            timeout = timeout if block else 0
            self._put_when_there_is_room(lambda: self.try_put(message, prefer_slot), timeout)

    def put_many(
        self, messages: Sequence[Message], timeout: float | None = None, prefer_slot: int = 0
    ) -> None:
        """Put messages in order, in batches: each costs a fraction of a `put`.

        Waits up to `timeout` seconds in total. A note on an exception has the number of messages
        put before it.
        """
        with self.putting(messages, prefer_slot) as attempt:
            if not attempt():
                self._put_when_there_is_room(attempt, timeout)

    def putting(self, messages: Sequence[Message], prefer_slot: int = 0) -> Putting:
        """Return what `put_many` is made of, for a caller that does the waiting for room itself."""

        def put(batch: Batch) -> bool:
            if self._closed:
                raise self._closed_error()
            return self._sender.put_batch(batch, self._unavailable, prefer_slot)

        return Putting(messages, put)

    def _put_when_there_is_room(self, attempt: Callable[[], bool], timeout: float | None) -> None:
        deadline = Deadline(timeout)
        room = self.await_room()
        try:
            while not attempt():
                if deadline.passed:
                    raise self.full_error()
                room.wait(deadline.remaining())
        finally:
            self.forget_room(room)

    def put_nowait(self, message: Message) -> None:
        self.put(message, block=False)

    def await_room(self) -> Any:
        """Ask the reader for a signal; put once more before sleeping on the returned watch."""
        return self._sender.await_room(self._room)

    def forget_room(self, watch: Any) -> None:
        """End what `await_room` began."""
        self._sender.forget_room(watch)

    def full_error(self) -> ChannelFull:
        """Return the error for a sender whose timeout has passed."""
        waiting = self.statistics()
        return ChannelFull(
            f"cannot send to {self.name!r}: the channel is full ({waiting.messages} messages, "
            f"{waiting.bytes} bytes); the reader is not draining it"
        )

    def count_round_trip(self, seconds: float) -> None:
        """Count a `send_sync` of this process, answered after `seconds`."""
        self._sender.count(statistics.count_round_trip, seconds)

    def count_unanswered(self) -> None:
        """Count a `send_sync` of this process that timed out."""
        self._sender.count(statistics.count_unanswered)

    # Receiving

    @property
    def receiver(self) -> Receiver:
        """The reading end in this process; raises ChannelError if another living process reads."""
        if self._receiver is None:
            self._receiver = Receiver(
                self._segment,
                self._arrived,
                self._room,
                capacity=self.capacity,
                max_deliveries=self.max_deliveries,
                set_aside=self._set_aside,
            )
        return self._receiver

    try_get: Callable[[], Message | None]
    """Return the next message, or None; acknowledge the one returned before."""

    def _first_get(self) -> Message | None:
        self.try_get = self.receiver.try_get
        return self.try_get()

    def get(self, block: bool = True, timeout: float | None = None) -> Message:
        """Return the next message; raises queue.Empty after `timeout` seconds, Closed once closed.

        The next call acknowledges the message. If the process dies before that, the message is
        delivered again to its successor, marked as redelivered.
        """
        receiver = self.receiver
        message = receiver.try_get()
        deadline = Deadline(timeout if block else 0)
        while message is None:
            if self._closed:
                raise self._closed_error()
            if deadline.passed:
                raise queue.Empty
            arrivals = receiver.await_arrivals()
            message = receiver.try_get()
            if message is None:
                arrivals.wait(deadline.remaining())
                message = receiver.try_get()
            receiver.awake()
        return message

    def get_nowait(self) -> Message:
        return self.get(block=False)

    def try_get_many(self, most: int = BATCH) -> list[Message]:
        """Return up to `most` messages of one sender; acknowledge those returned before.

        They are in flight until the next call: if the process dies, each is delivered again.
        """
        if most < 1:
            raise ValueError(f"cannot receive up to {most} messages; `most` must be at least 1")
        return self.receiver.try_get_many(most) or []

    def wake(self) -> None:
        """Wake a waiting reader though there is no message."""
        self._arrived.signal()

    def _set_aside(self, payload: bytes, deliveries: int, reason: str) -> None:
        if self.dead_letters is not None:
            box = DeadLetterBox(self.dead_letters)
            box.put(self.name, payload, deliveries=deliveries, reason=reason)

    # Inspection

    def qsize(self) -> int:
        """Return the number of messages in the channel, including those in flight."""
        return self.statistics().messages

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether a sender has no room left for even a small message."""
        return statistics.longest_wait(self._segment) > self.capacity - _SMALL

    def fill(self) -> float:
        """Return the share of its room that the sender with most bytes in the channel has used."""
        return statistics.longest_wait(self._segment) / self.capacity

    def statistics(self) -> ChannelStatistics:
        """Read the counters in shared memory; any process may, at any time, and delays nobody."""
        return statistics.read(self._segment, self.capacity)

    def in_flight(self) -> list[InFlight]:
        """Return the messages delivered and not acknowledged, oldest first for each sender.

        Any process may ask, at any time. After the reader's death, and until its successor
        receives its first message, these are the messages that the reader was handling.
        """
        return in_flight.read(self._segment)

    @property
    def reader_pid(self) -> int:
        """Process id of the present reader or the last one; 0 before the first."""
        return self._segment.words[layout.READER_PID]

    # Life cycle

    @property
    def state(self) -> ChannelState:
        return ChannelState(self._segment.words[layout.STATE])

    @state.setter
    def state(self, state: ChannelState) -> None:
        self._segment.words[layout.STATE] = state

    def close(self) -> None:
        """Stop using the channel in this process; its messages stay for other processes."""
        self._closed = True

        def try_put(message: Message, prefer_slot: int = 0) -> bool:
            del message, prefer_slot
            raise self._closed_error()

        self.try_put = try_put
        self.wake()

    def join_thread(self) -> None:
        """Do nothing: there is no feeder thread (part of multiprocessing.Queue's interface)."""

    def cancel_join_thread(self) -> None:
        """Do nothing, like `join_thread`."""


_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _begin_all() -> None:
    for channel in list(_channels):
        channel._begin()


os.register_at_fork(after_in_child=_begin_all)

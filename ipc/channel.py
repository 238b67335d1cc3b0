"""A channel: this project's multiprocessing queue, which survives SIGKILL of who uses it.

Made by one process (the supervisor) and handed to others as an argument of
`multiprocess.Process`, under fork, spawn and forkserver alike. Any number of processes may
put (ipc/ring/sender.py); one at a time may get (ipc/ring/receiver.py). Each sending process has a
slot of the shared memory to itself (ipc/ring/layout.py): no sender can stop or delay another.
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
from ipc.ring.receiver import Delivery, Receiver
from ipc.ring.sender import Batch, Putting, Sender, TryPut
from ipc.ring.signals import Deadline, EventFd
from ipc.ring.statistics import ChannelStatistics

DEFAULT_CAPACITY: Final = 8 * MIB
DEFAULT_MAX_DELIVERIES: Final = 3
_SMALL: Final = 512  # bytes


class ChannelState(enum.IntEnum):
    """Whether anybody is going to read what is put: the supervisor says so."""

    OPEN = 0
    STOPPED = 1
    FAILED = 2
    DISABLED = 3


class Channel:
    """A queue of messages to one reader, with the interface of `multiprocessing.Queue`.

    `capacity` is what each sender may have waiting, in bytes (a larger single message passes
    when nothing else waits). `max_deliveries`, 1 to 255, is how many readers may die with a
    message before it becomes a dead letter in the directory `dead_letters`; without one it is
    only counted.
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
            raise ValueError(f"capacity of {capacity} bytes; allowed are 1 to {MAX_CAPACITY}")
        if not 1 <= max_deliveries <= layout.DELIVERIES:
            raise ValueError(f"{max_deliveries} deliveries; allowed are 1 to {layout.DELIVERIES}")
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
        """Be a channel that this process has not used yet: a new one, or a forked child's."""
        self._closed = False
        self._sender = Sender(self._segment, self._arrived, self.capacity)
        self._receiver: Receiver | None = None
        self.try_put = self._sender.putter(self._unavailable)
        self.try_get = self._first_get
        _channels.add(self)

    def filenos(self) -> tuple[int, ...]:
        """Descriptors that a process needs to use the channel."""
        return (self._segment.fd, self._arrived.fd, self._room.fd)

    # Sending

    try_put: TryPut
    """Put the message if there is room; it is safe from any process's death from then on.

    Errors: ModuleUnavailable, MessageTooLarge, NotAMessage, Closed.
    """

    def _unavailable(self) -> ChannelError:
        reason = self.state.name.lower()
        return ModuleUnavailable(f"module {self.name!r} takes no messages: it is {reason}")

    def _closed_error(self) -> Closed:
        return Closed(f"channel {self.name!r} was closed in this process")

    def put(
        self,
        message: Message,
        block: bool = True,
        timeout: float | None = None,
        prefer_slot: int = 0,
    ) -> None:
        """Put the message, waiting up to `timeout` seconds for room; ChannelFull after that."""
        if not self.try_put(message, prefer_slot):
            timeout = timeout if block else 0
            self._put_when_there_is_room(lambda: self.try_put(message, prefer_slot), timeout)

    def put_many(
        self, messages: Sequence[Message], timeout: float | None = None, prefer_slot: int = 0
    ) -> None:
        """Put messages in their order, each at a fraction of what `put` takes.

        Waits up to `timeout` seconds in all. A note on the error says how many were put before.
        """
        with self.putting(messages, prefer_slot) as attempt:
            if not attempt():
                self._put_when_there_is_room(attempt, timeout)

    def putting(self, messages: Sequence[Message], prefer_slot: int = 0) -> Putting:
        """Begin to put many messages, for who waits for room in another way than `put_many`."""

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
        """Begin to wait for room: try once more before sleeping on the result."""
        return self._sender.await_room(self._room)

    def forget_room(self, watch: Any) -> None:
        """End a wait that `await_room` began."""
        self._sender.forget_room(watch)

    def full_error(self) -> ChannelFull:
        """Make the error for a sender that has waited long enough."""
        waiting = self.statistics()
        return ChannelFull(
            f"the channel of {self.name!r} is full: {waiting.messages} messages "
            f"({waiting.bytes} bytes) wait in it, and its reader makes no room"
        )

    def count_round_trip(self, seconds: float) -> None:
        """Count a question of this process's that was answered after so many seconds."""
        self._sender.count(statistics.count_round_trip, seconds)

    def count_unanswered(self) -> None:
        """Count a question of this process's that was not answered in time."""
        self._sender.count(statistics.count_unanswered)

    # Receiving

    @property
    def receiver(self) -> Receiver:
        """This process's reading end; ChannelError if another living process reads."""
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
    """Hand out the next message, or None; acknowledges the one handed out before."""

    def _first_get(self) -> Message | None:
        self.try_get = self.receiver.try_get
        return self.try_get()

    def get(self, block: bool = True, timeout: float | None = None) -> Message:
        """Hand out the next message, waiting up to `timeout` seconds; queue.Empty after that.

        The message stays in the channel until the next call: if the process dies before it,
        its successor gets the message again, marked as redelivered.
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
        """Hand out up to `most` messages of one sender; acknowledges what was handed out before.

        Until the next call all of them are in hand: if the process dies, each comes again.
        """
        if most < 1:
            raise ValueError(f"{most} messages at most; ask for one or more")
        return self.receiver.try_get_many(most) or []

    def wake(self) -> None:
        """Let a waiting reader look up, though no message has come."""
        self._arrived.signal()

    def _set_aside(self, payload: bytes, deliveries: int, reason: str) -> None:
        if self.dead_letters is not None:
            box = DeadLetterBox(self.dead_letters)
            box.put(self.name, payload, deliveries=deliveries, reason=reason)

    # Looking at it

    def qsize(self) -> int:
        """How many messages wait, including those being handled."""
        return self.statistics().messages

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        """Whether some sender has no room left for even a small message."""
        return statistics.longest_wait(self._segment) > self.capacity - _SMALL

    def statistics(self) -> ChannelStatistics:
        """Read the counters in shared memory: any process may, at any time, at no one's cost."""
        return statistics.read(self._segment, self.capacity)

    def in_flight(self) -> list[InFlight]:
        """Tell which messages are handed out and not done; oldest first for each sender.

        Any process may ask at any time. After the reader's death, and until its successor asks
        for its first message, it is what the reader was handling when it died.
        """
        return in_flight.read(self._segment)

    @property
    def reader_pid(self) -> int:
        """The process that reads, or did last; 0 before the first."""
        return self._segment.words[layout.READER_PID]

    # Its end

    @property
    def state(self) -> ChannelState:
        return ChannelState(self._segment.words[layout.STATE])

    @state.setter
    def state(self, state: ChannelState) -> None:
        self._segment.words[layout.STATE] = state

    def close(self) -> None:
        """Use the channel no more in this process; what waits in it stays for others."""
        self._closed = True

        def try_put(message: Message, prefer_slot: int = 0) -> bool:
            del message, prefer_slot
            raise self._closed_error()

        self.try_put = try_put
        self.wake()

    def join_thread(self) -> None:
        """Nothing to join, for a put that has returned is done (multiprocessing.Queue's word)."""

    def cancel_join_thread(self) -> None:
        """Nothing to cancel, as in `join_thread`."""


_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _begin_all() -> None:
    for channel in list(_channels):
        channel._begin()


os.register_at_fork(after_in_child=_begin_all)

__all__ = ["Channel", "ChannelState", "ChannelStatistics", "Delivery", "InFlight"]

"""The shared memory of one channel: the place of each word, and which process writes it.

    page 0          the channel: its state, and the reader's counters
    then, SLOTS times (one for each sender):
      one page      the slot's words: the writer's cache line, then the reader's
      RING bytes    records, each an 8-byte word and a payload padded to 8 bytes

A slot is a single-producer, single-consumer queue: there is no lock that a killed process could
leave locked. Positions count bytes since the channel was created and never wrap (64 bits);
a position's place in the ring is the position modulo RING. Every word has exactly one writer.

The memory is a memfd: it lives as long as a process holds it open (the supervisor does), so
messages outlive both their sender and their reader. Its size is virtual: only pages in use take
memory.

A record's word:

    bits 0-31   length of the payload in bytes
    bits 32-39  DELIVERIES: how often the message was delivered
    bit  40     DONE: acknowledged, though a record before it is not
    bit  41     HELD: handed out by the present reader, or by the last one
    bit  42     MEMBER: member of a batch

A batch is N one-word records (N up to BATCH) followed by one shared payload, the messages encoded
as one array. Instead of a length, each word holds its distance (in words) to the payload's word.
Each member is delivered and acknowledged like any other message, and the payload stays until all
are.

Places that inline the record layout
------------------------------------

Hot paths spell out what `record_size`, `record_end` and `payload_place` say, since a call costs
as much as a copy of the message. A change of the layout has to change all of these:

    ring/sender.py    Sender.putter         appends a single record: size, word, payload, TAIL
    ring/writer.py    Writer.write_batch    appends a batch: members' words, payload's word, payload
    ring/reader.py    Reader.hand_out_more  single records, and runs of members at once
                      Reader._batch_of      knows a batch by the position of its payload's word
                      Reader.finds_more     `tail`, inlined
    ring/receiver.py  Receiver._hand_out    single records, and `Reader.done` inlined
    ring/in_flight.py _slot                 reads words without a lock
"""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import threading
import weakref
from array import array
from typing import Final

PAGE: Final = mmap.PAGESIZE
MIB: Final = 1 << 20
RING: Final = 40 * MIB
MAX_CAPACITY: Final = RING // 2
#: Bytes at the ring's start whose memory is never given back to the system.
KEPT: Final = 1 * MIB
SLOTS: Final = 32
#: Bytes of an encoded message: 16 MiB of content, and the other fields.
MAX_PAYLOAD: Final = 16 * MIB + 64 * 1024

# Words of page 0, as indices of 8-byte words. The supervisor writes STATE, the reader the rest.
STATE: Final = 0
SLEEPING: Final = 8
REDELIVERED: Final = 9
DEAD_LETTERS: Final = 10
READER_PID: Final = 11
CLAIMS: Final = 64  # one word for each slot, written by the slot's writer: the slot was used

# Words of a slot's page: writer and reader have a cache line each.
TAIL: Final = 0  # the writer's: end of the last whole record
SENT: Final = 1
WAITING: Final = 2  # the writer's: it is waiting for room
SKIPPED: Final = 3  # the writer's: 1 + the position at which its last lap ended, or 0
HEAD: Final = 16  # the reader's: everything before it is acknowledged
FREED: Final = 17  # the reader's: the writer may overwrite everything before it
HANDLED: Final = 18
UNANSWERED: Final = 32  # the writer's: counters of its send_sync (ipc/ring/statistics.py)
ROUND_TRIP_SUM: Final = 33
ROUND_TRIP_COUNTS: Final = 34

LENGTH: Final = 0xFFFF_FFFF
DELIVERY: Final = 1 << 32
DELIVERIES_SHIFT: Final = 32
DELIVERIES: Final = 0xFF
DONE: Final = 1 << 40
HELD: Final = 1 << 41
HAND_OUT: Final = DELIVERY | HELD
MEMBER: Final = 1 << 42
FRESH: Final = LENGTH | MEMBER  # the bits that may be set before the first delivery

BATCH: Final = 64
#: The words of a batch's members: as sent, and after the first delivery.
MEMBERS: Final = memoryview(array("Q", [MEMBER | left for left in range(BATCH, 0, -1)]))
MEMBERS_IN_FLIGHT: Final = memoryview(array("Q", [word + HAND_OUT for word in MEMBERS]))


def record_size(length: int) -> int:
    """Return the bytes that a payload of `length` takes in the ring: its word, and padding to 8."""
    return (length + 15) & ~7


def record_end(lengths: memoryview, position: int) -> int:
    """Return where this record ends; a batch's last member ends with its payload."""
    place = (position % RING) >> 3
    word = lengths[place]
    if not word & MEMBER:
        return position + record_size(word & LENGTH)
    if word & LENGTH > 1:
        return position + 8
    return position + 8 + record_size(lengths[place + 1] & LENGTH)


def payload_place(lengths: memoryview, position: int) -> slice:
    """Return the place in the ring of the payload of this record, or of its batch."""
    place = (position % RING) >> 3
    word = lengths[place]
    if word & MEMBER:
        place += word & LENGTH
        word = lengths[place]
    return slice(8 * place + 8, 8 * place + 8 + (word & LENGTH))


def lap_after(position: int) -> int:
    """Return the position of the ring's next start after this position."""
    return position - position % RING + RING


def skipped(words: memoryview, since: int) -> int:
    """Return the unused bytes of a slot between `since` and TAIL: the end of the writer's last lap.

    There is at most one such gap between the two, since the writer may not overtake the reader.
    """
    at = words[SKIPPED] - 1
    return lap_after(at) - at if since <= at < words[TAIL] else 0


#: Byte of the segment whose record lock the reader holds; byte N is for the writer of slot N.
READER_LOCK: Final = SLOTS

_fence_lock = threading.Lock()

#: x86-64 keeps the order of stores and of loads; other processors need fences for it.
WEAK_MEMORY: Final = platform.machine().lower() not in {"x86_64", "amd64"}


def fence() -> None:
    """Be a full memory barrier: no load or store is reordered across it.

    CPython offers none. Acquiring an uncontended lock is one on x86-64 (a locked instruction),
    releasing and acquiring it again is one on Armv8 (release, then acquire of the same word).
    """
    _fence_lock.acquire()
    _fence_lock.release()
    if WEAK_MEMORY:
        _fence_lock.acquire()
        _fence_lock.release()


def _new_fence_lock() -> None:
    """Have a lock of its own in a child: another thread may have held this one at the fork."""
    global _fence_lock  # noqa: PLW0603 - a process has one
    _fence_lock = threading.Lock()


os.register_at_fork(after_in_child=_new_fence_lock)


class Slot:
    """One sender's part of a segment, mapped into this process: the ring and its words."""

    __slots__ = ("data", "lengths", "mapping", "words")

    def __init__(self, fd: int, index: int) -> None:
        offset = PAGE + index * (PAGE + RING)
        self.mapping = mmap.mmap(fd, PAGE + RING, offset=offset)
        view = memoryview(self.mapping)
        self.words = view[:PAGE].cast("Q")
        self.data = view[PAGE:]
        self.lengths = self.data.cast("Q")

    def release(self, start: int, end: int) -> None:
        """Give the memory of ring bytes [start, end) back to the system; whole pages only."""
        self.mapping.madvise(mmap.MADV_REMOVE, PAGE + start, end - start)


class Segment:
    """The memory of a channel: created once, and mapped by each process that has its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        weakref.finalize(self, os.close, fd).atexit = False
        self._mapping = mmap.mmap(fd, PAGE)
        self.words = memoryview(self._mapping).cast("Q")
        self._claims = self.words[CLAIMS : CLAIMS + SLOTS]
        self._slots: dict[int, Slot] = {}

    @classmethod
    def create(cls, name: str) -> Segment:
        fd = os.memfd_create(f"cloudcore-{name}", os.MFD_CLOEXEC)
        os.ftruncate(fd, PAGE + SLOTS * (PAGE + RING))
        return cls(fd)

    def claimed(self) -> bytes:
        """Return bytes that change whenever a slot is used for the first time."""
        return self._claims.tobytes()

    def used_slots(self) -> list[int]:
        """Return the indices of the slots that a process has sent through."""
        return [index for index in range(SLOTS) if self.words[CLAIMS + index]]

    def lock(self, byte: int) -> bool:
        """Acquire one of the segment's locks for this process; False if another process holds it.

        It is a POSIX record lock (fcntl(2)): the kernel releases it when the process exits,
        and also when the process closes any descriptor of the memory. That is why mappings and
        descriptors are kept until the process exits.
        """
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def slot(self, index: int) -> Slot:
        """Map a slot, once. Pages that are not touched take no memory."""
        if index not in self._slots:
            self._slots[index] = Slot(self.fd, index)
        return self._slots[index]

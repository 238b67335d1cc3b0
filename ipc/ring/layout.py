"""The shared memory of one channel: where each word of it lies, and who may write it.

    page 0          the channel: its state, and the reader's counters
    then, SLOTS times (one for each sender):
      one page      the slot's words: the writer's line, then the reader's line
      RING bytes    records, each an 8-byte word and a payload padded to 8 bytes

A slot is a queue with one writer and one reader, so nobody ever holds a lock that a death
could leave taken. Positions count bytes since the channel was made and never wrap (64 bits);
a position's place in the ring is the position modulo RING. Every word has exactly one writer.

The memory is a memfd: it lives as long as somebody holds it open (the supervisor does), so
what was sent outlives both who sent it and who was reading it. Its size is virtual; only what
is in use takes memory.

A record's word:

    bits 0-31   length of the payload in bytes
    bits 32-39  how often it was handed out
    bit  40     handled, though something before it is not yet
    bit  41     handed out by the reader that there is, or was last
    bit  42     member of a batch

A batch is up to BATCH messages encoded as one array. Each is a record of its own, a word that
counts the words from it to the payload in place of the length; behind the last one follow the
payload's word and the payload. So each is handed out and handled like any other message, and the
payload stays until all are.
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
KEPT: Final = 1 * MIB  # the ring's start, whose memory is never given back
SLOTS: Final = 32
MAX_PAYLOAD: Final = 16 * MIB + 64 * 1024  # 16 MiB of content, and the fields around it

# Words of page 0, as indices of 8-byte words. STATE is the supervisor's, the rest the reader's.
STATE: Final = 0
SLEEPING: Final = 8
REDELIVERED: Final = 9
DEAD_LETTERS: Final = 10
READER_PID: Final = 11
CLAIMS: Final = 64  # one word a slot, the slot's writer's: somebody has used the slot

# Words of a slot's page: two cache lines, so that writer and reader do not share one.
TAIL: Final = 0  # the writer's: end of the last whole record
SENT: Final = 1
WAITING: Final = 2  # the writer's: it waits for room
SKIPPED: Final = 3  # the writer's: 1 + where it last left the rest of the ring unused, or 0
HEAD: Final = 16  # the reader's: everything before it is handled
FREED: Final = 17  # the reader's: the writer may overwrite everything before it
HANDLED: Final = 18
UNANSWERED: Final = 32  # the writer's: how its questions fared (ipc/ring/statistics.py)
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
FRESH: Final = LENGTH | MEMBER  # all that a word has before the record is handed out

BATCH: Final = 64
#: The words of a batch's members: as they are sent, and when they have been handed out once.
MEMBERS: Final = memoryview(array("Q", [MEMBER | left for left in range(BATCH, 0, -1)]))
MEMBERS_IN_FLIGHT: Final = memoryview(array("Q", [word + HAND_OUT for word in MEMBERS]))


def record_size(length: int) -> int:
    """Bytes that a payload of `length` takes in the ring: its word, and padding to 8."""
    return (length + 15) & ~7


def record_end(lengths: memoryview, position: int) -> int:
    """Where the record at this position ends; a batch's last member ends with the payload."""
    place = (position % RING) >> 3
    word = lengths[place]
    if not word & MEMBER:
        return position + record_size(word & LENGTH)
    if word & LENGTH > 1:
        return position + 8
    return position + 8 + record_size(lengths[place + 1] & LENGTH)


def payload_place(lengths: memoryview, position: int) -> slice:
    """Where in the ring the payload lies that the record at this position has, or shares."""
    place = (position % RING) >> 3
    word = lengths[place]
    if word & MEMBER:
        place += word & LENGTH
        word = lengths[place]
    return slice(8 * place + 8, 8 * place + 8 + (word & LENGTH))


def lap_after(position: int) -> int:
    """Where the ring begins again, after this position."""
    return position - position % RING + RING


def skipped(words: memoryview, since: int) -> int:
    """Bytes of a slot between `since` and TAIL that hold nothing: the writer began a new lap.

    It does so at most once between the two, for it may not overtake the reader.
    """
    at = words[SKIPPED] - 1
    return lap_after(at) - at if since <= at < words[TAIL] else 0


#: Bytes of the segment whose locks say who is there: a writer of each slot, and the reader.
READER_LOCK: Final = SLOTS

_fence_lock = threading.Lock()

#: x86-64 keeps stores in order and loads in order; elsewhere a fence is needed for that too.
WEAK_MEMORY: Final = platform.machine().lower() not in {"x86_64", "amd64"}


def fence() -> None:
    """Let no load or store pass this point, in either direction.

    CPython has no fence. Taking an uncontended lock is one on x86-64 (a locked instruction),
    releasing and taking it again on Armv8 (a release followed by an acquire of the same word).
    """
    _fence_lock.acquire()
    _fence_lock.release()
    if WEAK_MEMORY:
        _fence_lock.acquire()
        _fence_lock.release()


class Slot:
    """One sender's part of a segment, mapped into this process."""

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
    """The memory of a channel: created once, then mapped by whoever holds its descriptor."""

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
        """One byte run that changes when a slot is used for the first time."""
        return self._claims.tobytes()

    def used_slots(self) -> list[int]:
        """Indices of the slots that some process has sent through."""
        return [index for index in range(SLOTS) if self.words[CLAIMS + index]]

    def lock(self, byte: int) -> bool:
        """Take one of the segment's locks for this process; False if another has it.

        A record lock of the kernel's: it ends with the process, whatever ends it. It would also
        end when the process closes any descriptor of the memory, which is why mappings and
        descriptors are kept until the process ends.
        """
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):  # POSIX lets it be either
            return False
        return True

    def slot(self, index: int) -> Slot:
        """Map a slot, once; whoever only looks at a few words maps no more than it touches."""
        if index not in self._slots:
            self._slots[index] = Slot(self.fd, index)
        return self._slots[index]

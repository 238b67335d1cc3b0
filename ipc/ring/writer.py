"""The sending end of a slot: it appends records to the ring.

It stores the payload, the record's word, then TAIL: whenever a SIGKILL comes, a record is there as
a whole or not at all. ipc/ring/reader.py is the other end.

The ring takes memory only as far as the writer goes before it begins a new lap at the ring's start.
"""

from __future__ import annotations

from typing import Final

from ipc.ring.layout import (
    BATCH,
    FREED,
    KEPT,
    MEMBERS,
    PAGE,
    RING,
    SENT,
    SKIPPED,
    TAIL,
    WAITING,
    WEAK_MEMORY,
    Slot,
    fence,
    lap_after,
    record_size,
    skipped,
)

#: Bytes after which the writer of an empty slot begins a new lap: they stay in the CPU's cache.
_LAP: Final = 256 * 1024


class Writer:
    """The sending end of a slot. It is not thread-safe: the caller holds a lock.

    `tail` is where the next record begins. A record that would end after `limit` needs `make_room`
    first. `ipc.ring.sender` itself writes the records that are not batches.
    """

    __slots__ = (
        "_capacity",
        "_slot",
        "_used",
        "lengths",
        "limit",
        "mapping",
        "sent",
        "tail",
        "words",
    )

    def __init__(self, slot: Slot, capacity: int) -> None:
        self._slot = slot
        self.words, self.mapping, self.lengths = slot.words, slot.mapping, slot.lengths
        self._capacity = capacity
        self.tail: int = self.words[TAIL]
        self.sent: int = self.words[SENT]
        self.limit = 0
        self._used = RING if self.tail else 0  # the end of the memory that may be in use
        # A predecessor may have been killed while it waited, or before a lap's first record.
        self.words[WAITING] = False
        if self.words[SKIPPED] == self.tail + 1:
            self.words[SKIPPED] = 0

    def await_room(self, *, waiting: bool) -> None:
        """Set whether the reader is to signal when it has made room."""
        self.words[WAITING] = waiting
        fence()

    def write_batch(self, payload: bytes, count: int) -> bool:
        """Append a batch of `count` messages, up to BATCH; False if there is no room for it."""
        size = 8 * count + record_size(len(payload))
        if self.tail + size > self.limit and not self.make_room(size):
            return False
        first = (self.tail % RING) >> 3
        behind = first + count
        start = PAGE + 8 * behind + 8
        self.mapping[start : start + len(payload)] = payload
        self.lengths[behind] = len(payload)
        self.lengths[first:behind] = MEMBERS[BATCH - count :]
        if WEAK_MEMORY:
            fence()
        self.tail += size
        self.words[TAIL] = self.tail
        self.sent += count
        self.words[SENT] = self.sent
        return True

    def make_room(self, size: int) -> bool:
        """Move `limit`, beginning a new lap if one is due; False if `size` bytes have no room.

        An empty slot takes a record of any size, so that the largest message passes through the
        smallest channel.
        """
        freed, tail = self.words[FREED], self.tail
        unused = skipped(self.words, freed)
        empty = freed == tail
        if not empty and tail + size - freed - unused > self._capacity:
            return False
        place = tail % RING
        # As many bytes as may wait have to fit before the place at which a lap ends.
        lap = _LAP if empty else self._capacity + KEPT
        back = place + size > RING or (place >= lap and (empty or size <= freed % RING))
        if back:
            self._begin_lap(empty=empty)
            unused = self.tail - tail
        # What is waiting begins at FREED, or at the lap's start if it was empty before.
        first = freed + unused if self.words[SKIPPED] == freed + 1 else freed
        allowed = max(freed + unused + self._capacity, self.tail + size)
        often = self.tail + max(size, _LAP)
        self.limit = min(allowed, first + RING, lap_after(self.tail), often)
        return self.tail + size <= self.limit

    def _begin_lap(self, *, empty: bool) -> None:
        """Continue at the ring's start.

        The record ends there before what is waiting: both together take up to the capacity, and a
        lap does not end before that many bytes (MAX_CAPACITY is half the ring).
        """
        tail = self.tail
        self._used = max(self._used, tail % RING)
        if empty and self._used > KEPT:
            self._slot.release(KEPT, self._used)
            self._used = 0
        self.words[SKIPPED] = tail + 1
        self.tail = lap_after(tail)

"""The sending end of a slot: it appends records to the ring.

It stores payload, record word, then TAIL, in an order in which a SIGKILL between any two of them
loses nothing: a record is there whole or not at all. ipc/ring/reader.py has the other end.

Memory is in use only as far as the writer goes before it begins a new lap, at the ring's start.
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

#: An empty slot's writer begins a new lap after so many bytes: they stay in the CPU's cache.
_LAP: Final = 256 * 1024


class Writer:
    """The sending end of a slot; the caller sees to it that only one thread is inside.

    `tail` is where the next record begins, `limit` where it has to end if there is to be no
    `make_room` first. `ipc.ring.sender` writes the records that are no batches.
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
        self._used = RING if self.tail else 0  # up to where memory may be in use
        # A predecessor may have died while it waited, or before the first record of a lap.
        self.words[WAITING] = False
        if self.words[SKIPPED] == self.tail + 1:
            self.words[SKIPPED] = 0

    def await_room(self, *, waiting: bool) -> None:
        """Ask the reader to tell when it has made room, or to no longer do so."""
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
        """Find out anew how far the writer may go, beginning a new lap where it is time to.

        False if there is no room for a record of this size. An empty slot takes any record, so
        the largest message passes the smallest channel.
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
            if not self._begin_lap(size, freed):
                return False
            unused = self.tail - tail
        # What is waiting begins at FREED, or at the lap's start if it was empty before.
        first = freed + unused if self.words[SKIPPED] == freed + 1 else freed
        allowed = max(freed + unused + self._capacity, self.tail + size)
        often = self.tail + max(size, _LAP)
        self.limit = min(allowed, first + RING, lap_after(self.tail), often)
        return self.tail + size <= self.limit

    def _begin_lap(self, size: int, freed: int) -> bool:
        """Go on at the ring's start, if the record fits in before what waits there."""
        tail, start = self.tail, lap_after(self.tail)
        empty = freed == tail
        if not empty and start + size > freed + RING:
            return False
        self._used = max(self._used, tail % RING)
        if empty and self._used > KEPT:
            self._slot.release(KEPT, self._used)
            self._used = 0
        self.words[SKIPPED] = tail + 1
        self.tail = start
        return True

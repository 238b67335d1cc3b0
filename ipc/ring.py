"""One slot's two ends: the writer that appends records and the reader that consumes them.

Each end keeps its positions in shared memory at every step, in an order in which a SIGKILL
between any two of them loses nothing:

    write   payload, record word, then TAIL: a record is there whole or not at all
    read    the record's delivery count, then the message is handed out, then HEAD
    free    HEAD, then FREED, which lets the writer reuse the memory before it

Memory is in use only as far as the writer goes before it begins a new lap, at the ring's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ipc.segment import (
    DONE,
    FREED,
    HANDLED,
    HEAD,
    HELD,
    KEPT,
    LENGTH,
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
    `make_room` first. `ipc.sending` writes the records.
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


class Reader:
    """The receiving end of a slot.

    `cursor` is where the next record is handed out, `head` the oldest one not yet handled.
    `free_step` is how many bytes are handled until the writer is told of the room: telling it
    for every message would cost too much.
    """

    __slots__ = (
        "_on_room",
        "cursor",
        "data",
        "free_step",
        "freed",
        "handled",
        "head",
        "lengths",
        "words",
    )

    def __init__(self, slot: Slot, on_room: Callable[[], None], free_step: int) -> None:
        self._on_room = on_room
        self.free_step = free_step
        self.words, self.data, self.lengths = slot.words, slot.data, slot.lengths
        self.head = self.cursor = self.words[HEAD]
        if self.head == self.words[TAIL]:  # deaths may have left the counts apart
            self.words[HANDLED] = self.words[SENT]
        self.handled = self.words[HANDLED]
        self.freed = self.words[FREED]
        self.free()  # a predecessor may have died before it did
        self._let_go()

    def tail(self) -> int:
        """Where the written records end."""
        tail: int = self.words[TAIL]
        if WEAK_MEMORY:
            fence()
        return tail

    def word(self, position: int) -> int:
        """A record's word: its length, how often it was handed out, whether it is done."""
        return self.lengths[(position % RING) >> 3]

    def set_word(self, position: int, word: int) -> None:
        self.lengths[(position % RING) >> 3] = word

    def payload(self, position: int) -> memoryview:
        """The bytes of a record."""
        place = position % RING
        return self.data[place + 8 : place + 8 + (self.word(position) & LENGTH)]

    def lap_end(self) -> int:
        """Where the writer last began a new lap; asked for after `tail`."""
        position: int = self.words[SKIPPED]
        return position - 1

    def begin_lap(self) -> int:
        """Move the cursor to the ring's start, where the writer went on."""
        at_head = self.head == self.cursor
        self.cursor = lap_after(self.cursor)
        if at_head:
            self._advance(self.cursor)
        return self.cursor

    def done(self, position: int, end: int) -> bool:
        """Note that a record is handled, in whatever order: HEAD passes it when it can.

        False if that was known already.
        """
        if position < self.head or self.word(position) & DONE:
            return False
        self.handled = self.words[HANDLED] = self.handled + 1
        if position == self.head:
            self._advance(end)
            self.pass_done()
        else:
            self.set_word(position, self.word(position) | DONE)
        return True

    def pass_done(self) -> None:
        """Move HEAD over the records behind it that were handled out of order."""
        head, lap_end = self.head, self.lap_end()
        while head < self.cursor:
            word = self.word(head)
            if head == lap_end:
                head = lap_after(head)
            elif word & DONE:
                head += record_size(word & LENGTH)
            else:
                break
        self._advance(head)

    def free(self) -> None:
        """Let the writer reuse the memory of what is handled."""
        if self.freed == self.head:
            return
        if WEAK_MEMORY:
            fence()
        self.freed = self.words[FREED] = self.head
        fence()
        if self.words[WAITING]:
            self._on_room()

    def _let_go(self) -> None:
        """Note that the predecessor holds nothing any more: what it did is handed out again."""
        position, tail = self.head, self.tail()
        lap_end = self.lap_end()
        while position < tail:
            if position == lap_end:
                position = lap_after(position)
                continue
            word = self.word(position)
            length = word & LENGTH
            if word == length:
                return
            self.set_word(position, word & ~HELD)
            position += record_size(length)

    def _advance(self, head: int) -> None:
        self.head = self.words[HEAD] = head
        if head - self.freed >= self.free_step:
            self.free()

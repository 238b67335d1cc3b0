"""One slot's two ends: the writer that appends records and the reader that consumes them.

Each end keeps its positions in shared memory at every step, in an order in which a SIGKILL
between any two of them loses nothing:

    write   payload, record word, then TAIL: a record is there whole or not at all
    read    the record's delivery count, then the message is handed out, then HEAD
    free    HEAD, then the memory goes back, then FREED lets the writer reuse it
"""

from __future__ import annotations

from collections.abc import Callable

from ipc.segment import (
    CHUNK,
    DONE,
    FREED,
    HANDLED,
    HEAD,
    HELD,
    LENGTH,
    RING,
    SENT,
    SKIP,
    SKIPPED,
    TAIL,
    WAITING,
    WEAK_MEMORY,
    Slot,
    fence,
    record_size,
    skipped,
)


class Writer:
    """The sending end of a slot; the caller sees to it that only one thread is inside.

    `tail` is where the next record begins, `limit` where it has to end if there is to be no
    `make_room` first. `ipc.sending` writes the records.
    """

    __slots__ = ("_capacity", "lengths", "limit", "mapping", "sent", "tail", "words")

    def __init__(self, slot: Slot, capacity: int) -> None:
        self.words, self.mapping, self.lengths = slot.words, slot.mapping, slot.lengths
        self._capacity = capacity
        self.tail: int = self.words[TAIL]
        self.sent: int = self.words[SENT]
        self.limit = 0
        self.words[WAITING] = False  # a predecessor may have died waiting

    def await_room(self, *, waiting: bool) -> None:
        """Ask the reader to tell when it has made room, or to no longer do so."""
        self.words[WAITING] = waiting
        fence()

    def make_room(self, size: int) -> bool:
        """Find out anew how far the writer may go, moving to the ring's start where needed.

        False if there is no room for a record of this size.

        An empty ring takes any record, even one above the capacity, so the largest message
        passes the smallest channel. From an empty ring the writer also goes back to the start,
        if the capacity lies before it, so that little traffic keeps using the same memory.
        """
        freed, tail = self.words[FREED], self.tail
        end = freed - freed % CHUNK + RING  # FREED's chunk will be given back as a whole
        place = tail % RING
        empty = freed == tail
        back = empty and place - place % CHUNK >= max(self._capacity, size, CHUNK)
        skip = back or place + size > RING
        start = tail - place + RING if skip else tail
        unused = skipped(self.words, freed)
        if not empty and tail + size - freed - unused > self._capacity:
            return False
        if start + size > end:
            return False
        if skip:
            self.words[SKIPPED] = tail
            self.lengths[place >> 3] = SKIP
            unused = start - tail
        self.tail = start
        allowed = max(freed + unused + self._capacity, start + size)
        self.limit = min(allowed, end, start - start % RING + RING)
        return True


class Reader:
    """The receiving end of a slot.

    `cursor` is where the next record is handed out, `head` the oldest one not yet handled.
    `free_step` is how many bytes are handled until the writer is told of the room: telling it
    for every message would cost too much.
    """

    __slots__ = (
        "_on_room",
        "_slot",
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
        self._slot = slot
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

    def skip(self) -> int:
        """Move the cursor to the ring's start, where the writer went on."""
        at_head = self.head == self.cursor
        self.cursor += RING - self.cursor % RING
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
        head = self.head
        while head < self.cursor:
            word = self.word(head)
            if word == SKIP:
                head += RING - head % RING
            elif word & DONE:
                head += record_size(word & LENGTH)
            else:
                break
        self._advance(head)

    def free(self) -> None:
        """Give the memory of what is handled back, and let the writer reuse it.

        First HEAD, then the memory, then FREED: a death in between leaves something to free,
        never something to read that is gone.
        """
        if self.freed == self.head:
            return
        self._release_chunks()
        self.freed = self.words[FREED] = self.head
        fence()
        if self.words[WAITING]:
            self._on_room()

    def _let_go(self) -> None:
        """Note that the predecessor holds nothing any more: what it did is handed out again."""
        position, tail = self.head, self.tail()
        while position < tail:
            word = self.word(position)
            if word == SKIP:
                position += RING - position % RING
                continue
            length = word & LENGTH
            if word == length:
                return
            self.set_word(position, word & ~HELD)
            position += record_size(length)

    def _advance(self, head: int) -> None:
        self.head = self.words[HEAD] = head
        if head - self.freed >= self.free_step:
            self.free()

    def _release_chunks(self) -> None:
        first, last = self.freed // CHUNK, self.head // CHUNK
        if first == last:
            return
        start, end = first * CHUNK % RING, last * CHUNK % RING
        if start < end:
            self._slot.release(start, end)
        else:
            self._slot.release(start, RING)
            if end:
                self._slot.release(0, end)

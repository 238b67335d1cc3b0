"""The receiving end of a slot: it consumes records, and makes room for new ones.

Its positions are in shared memory. The order of the stores is such that a SIGKILL between any two
of them loses nothing:

    read    the record's delivery count, then the message is handed out, then HEAD
    free    HEAD, then FREED, which lets the writer reuse the memory before it
"""

from __future__ import annotations

from collections.abc import Callable

from ipc.message import DECODING_ERRORS, Message, decode_batch, decode_message, part_of_batch
from ipc.ring.layout import (
    BATCH,
    DONE,
    FREED,
    FRESH,
    HAND_OUT,
    HANDLED,
    HEAD,
    HELD,
    LENGTH,
    MEMBER,
    MEMBERS,
    MEMBERS_IN_FLIGHT,
    RING,
    SENT,
    SKIPPED,
    TAIL,
    WAITING,
    WEAK_MEMORY,
    Slot,
    fence,
    lap_after,
    payload_place,
    record_end,
    record_size,
)


class Reader:
    """The receiving end of a slot.

    `cursor` is the position of the next record to hand out, `head` that of the oldest record not
    acknowledged. `free_step` is the number of bytes to acknowledge before FREED is moved: doing
    so for every message would cost too much.
    """

    __slots__ = (
        "_batch",
        "_batch_end",
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
        if self.head == self.words[TAIL]:  # a SIGKILL may have left the counters apart
            self.words[HANDLED] = self.words[SENT]
        self.handled = self.words[HANDLED]
        self.freed = self.words[FREED]
        self._batch: list[Message] = []
        self._batch_end = -1
        self.free()  # a predecessor may have died before it did
        self._release_held()

    def tail(self) -> int:
        """Return where the written records end."""
        tail: int = self.words[TAIL]
        if WEAK_MEMORY:
            fence()
        return tail

    def finds_more(self) -> bool:
        """Whether there are records to hand out; if not, free all that is acknowledged."""
        if self.words[TAIL] != self.cursor:  # `tail`, inlined
            if WEAK_MEMORY:
                fence()
            return True
        if self.freed != self.head:
            self.free()
        return False

    def word(self, position: int) -> int:
        """Return a record's word (ring/layout.py)."""
        return self.lengths[(position % RING) >> 3]

    def set_word(self, position: int, word: int) -> None:
        self.lengths[(position % RING) >> 3] = word

    def end(self, position: int) -> int:
        """Return where the record at this position ends."""
        return record_end(self.lengths, position)

    def payload(self, position: int) -> bytes:
        """Return the encoded message at this position, cut out of its batch if it is a member."""
        payload = bytes(self.data[payload_place(self.lengths, position)])
        word = self.word(position)
        return part_of_batch(payload, word & LENGTH) if word & MEMBER else payload

    def message(self, position: int) -> Message:
        """Decode the message at this position; raises DECODING_ERRORS if it cannot be decoded."""
        word = self.word(position)
        if not word & MEMBER:
            return decode_message(self.payload(position))
        try:
            return self._batch_of(position, word)[-(word & LENGTH)]
        except DECODING_ERRORS:  # perhaps only another member cannot be decoded
            return decode_message(self.payload(position))

    def hand_out_more(self, position: int, most: int) -> tuple[list[Message], int]:
        """Hand out up to `most` messages from a position on; return them, and where they end.

        It stops before a record that was delivered before or cannot be decoded.
        """
        tail, lap_end, lengths = self.tail(), self.lap_end(), self.lengths
        messages: list[Message] = []
        try:
            while position < tail and position != lap_end and len(messages) < most:
                place = position % RING
                first = place >> 3
                word = lengths[first]
                if word == word & LENGTH:
                    lengths[first] = word + HAND_OUT
                    messages.append(decode_message(self.data[place + 8 : place + 8 + word]))
                    position += record_size(word)
                    continue
                start = BATCH - (word & LENGTH)
                stop = min(BATCH, start + most - len(messages))
                behind = first + stop - start
                if not word & MEMBER or lengths[first:behind] != MEMBERS[start:stop]:
                    break
                lengths[first:behind] = MEMBERS_IN_FLIGHT[start:stop]
                batch = self._batch_of(position, word)
                messages += batch[len(batch) - (word & LENGTH) :][: stop - start]
                position = self.end(position + 8 * (stop - start - 1))
        except DECODING_ERRORS:
            pass
        return messages, position

    def _batch_of(self, position: int, word: int) -> list[Message]:
        """Return all messages of the batch that a member belongs to; each batch is decoded once."""
        behind = position + 8 * (word & LENGTH)
        if behind != self._batch_end:
            self._batch = decode_batch(self.data[payload_place(self.lengths, position)])
            self._batch_end = behind
        return self._batch

    def lap_end(self) -> int:
        """Return where the writer's last lap ended; to be read after `tail`."""
        position: int = self.words[SKIPPED]
        return position - 1

    def begin_lap(self) -> int:
        """Move the cursor to the ring's start, where the writer continued."""
        at_head = self.head == self.cursor
        self.cursor = lap_after(self.cursor)
        if at_head:
            self._advance(self.cursor)
        return self.cursor

    def done(self, position: int, end: int) -> bool:
        """Acknowledge a record, in any order: HEAD moves past it once all before it are done.

        Return False if it was acknowledged before.
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

    def done_all(self, position: int, end: int, count: int) -> None:
        """Acknowledge `count` records from `position` to `end`, all of them in flight."""
        if position == self.head:
            self.handled = self.words[HANDLED] = self.handled + count
            self._advance(end)
            return
        while position < end:
            after = self.end(position)
            self.done(position, after)
            position = after

    def pass_done(self) -> None:
        """Move HEAD past the records that were acknowledged out of order."""
        head, lap_end = self.head, self.lap_end()
        while head < self.cursor:
            word = self.word(head)
            if head == lap_end:
                head = lap_after(head)
            elif word & DONE:
                head = self.end(head)
            else:
                break
        self._advance(head)

    def free(self) -> None:
        """Let the writer reuse the memory of the acknowledged records."""
        if self.freed == self.head:
            return
        if WEAK_MEMORY:
            fence()
        self.freed = self.words[FREED] = self.head
        fence()
        if self.words[WAITING]:
            self._on_room()

    def _release_held(self) -> None:
        """Clear HELD: what the predecessor had in flight is delivered again."""
        position, tail = self.head, self.tail()
        lap_end = self.lap_end()
        while position < tail:
            if position == lap_end:
                position = lap_after(position)
                continue
            word = self.word(position)
            if word == word & FRESH:
                return
            self.set_word(position, word & ~HELD)
            position = self.end(position)

    def _advance(self, head: int) -> None:
        self.head = self.words[HEAD] = head
        if head - self.freed >= self.free_step:
            self.free()

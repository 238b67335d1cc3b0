"""What a reader holds: messages handed out and not yet done, as another process sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ipc.message import decode_envelope, part_of_batch
from ipc.ring import layout
from ipc.ring.layout import RING, Segment, Slot, fence, lap_after, payload_place, record_end


@dataclass(frozen=True)
class InFlight:
    """A message that was handed out and is not done; what it says stays in the channel.

    The texts are empty if the bytes are no message: then decoding them is what goes on.
    """

    id: str
    source: str
    operation: str
    resource: str
    deliveries: int
    """how often it was handed out, this time included"""


def read(segment: Segment) -> list[InFlight]:
    """Look at the records without a lock, whether the reader lives or not.

    Each is copied first; then the reader's HEAD says whether the copy is of a message in hand
    or of memory that was given back meanwhile.
    """
    return [held for index in segment.used_slots() for held in _slot(segment.slot(index))]


def _slot(slot: Slot) -> Iterator[InFlight]:
    words, lengths = slot.words, slot.lengths
    position = words[layout.HEAD]
    while position < words[layout.TAIL]:
        if position == words[layout.SKIPPED] - 1:
            position = lap_after(position)
            continue
        word = lengths[(position % RING) >> 3]
        try:
            payload = bytes(slot.data[payload_place(lengths, position)])
            end = record_end(lengths, position)
        except IndexError:  # it was given back, and holds something else
            payload, end = b"", position
        fence()
        head = words[layout.HEAD]
        if head > position:
            position = head
        elif word == word & layout.FRESH:
            return  # not handed out yet, and so is all that comes after it
        else:
            if word & layout.HELD and not word & layout.DONE:
                yield _describe(payload, word)
            position = end


def _describe(payload: bytes, word: int) -> InFlight:
    if word & layout.MEMBER:
        payload = part_of_batch(payload, word & layout.LENGTH)
    told = decode_envelope(payload)
    deliveries = (word >> layout.DELIVERIES_SHIFT) & layout.DELIVERIES
    return InFlight(told.id, told.source, told.operation, told.resource, deliveries)

"""Messages in flight (delivered and not acknowledged), as another process sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ipc.message import decode_envelope, part_of_batch
from ipc.ring import layout
from ipc.ring.layout import RING, Segment, Slot, fence, lap_after, payload_place, record_end


@dataclass(frozen=True)
class InFlight:
    """A message that was delivered and is not acknowledged, without its content.

    The strings are empty if the message cannot be decoded: the reader is decoding it then.
    """

    id: str
    source: str
    operation: str
    resource: str
    deliveries: int
    """number of deliveries, this one included"""


def read(segment: Segment) -> list[InFlight]:
    """Return the messages in flight, without a lock, whether the reader lives or not.

    Each record is copied first. The reader's HEAD, read afterwards, tells whether the copy is that
    of a record or of memory that was reused meanwhile.
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
        except IndexError:  # the memory was reused meanwhile
            payload, end = b"", 0
        fence()
        head = words[layout.HEAD]
        if head > position:
            position = head
        elif word == word & layout.FRESH or not end:
            return  # not delivered yet, and neither is any record after it; or no record at all
        else:
            if word & layout.HELD and not word & layout.DONE:
                yield _describe(payload, word)
            position = end


def _describe(payload: bytes, word: int) -> InFlight:
    if word & layout.MEMBER:
        payload = part_of_batch(payload, word & layout.LENGTH)
    envelope = decode_envelope(payload)
    deliveries = (word >> layout.DELIVERIES_SHIFT) & layout.DELIVERIES
    return InFlight(envelope.id, envelope.source, envelope.operation, envelope.resource, deliveries)

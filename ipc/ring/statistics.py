"""A channel's counters, read from shared memory at nobody's cost, and the questions' times."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from ipc.ring import layout
from ipc.ring.layout import Segment, skipped

#: Upper bounds of a round trip's buckets, in seconds; what took longer is in one more bucket.
ROUND_TRIP_BOUNDS: Final = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_BUCKETS: Final = len(ROUND_TRIP_BOUNDS) + 1


@dataclass(frozen=True)
class Histogram:
    """How often something took how long, as Prometheus has it, but for the buckets' counts.

    `counts[i]` is of what took up to `bounds[i]` seconds and more than the bound before it; the
    last count, which has no bound, is of what took longer than all.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_seconds: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[int]:
        """Counts of what took up to each bound, and of all: Prometheus' `le` buckets."""
        total = 0
        return [total := total + count for count in self.counts]


@dataclass(frozen=True)
class ChannelStatistics:
    """A channel at one moment. Totals are since it was made; a kill may leave one off by one."""

    messages: int
    """waiting, including those being handled"""
    bytes: int
    """what they take in memory"""
    capacity_bytes: int
    """what each sender may have waiting before it has to wait itself"""
    sent_total: int
    received_total: int
    """handled to the end, or set aside"""
    redelivered_total: int
    dead_letters: int
    """set aside since the channel was made, whatever has become of them"""
    senders: int
    """slots in use: processes that have sent, a replacement counting as its predecessor"""
    round_trips: Histogram
    """of `send_sync` to this channel: from before the question is sent until its answer is there"""
    unanswered_total: int
    """questions whose answer did not come in time"""


def read(segment: Segment, capacity: int) -> ChannelStatistics:
    """Read the counters as they are at this moment, whoever is writing them."""
    messages = waiting_bytes = sent_total = received_total = unanswered = nanoseconds = 0
    counts = [0] * _BUCKETS
    used = segment.used_slots()
    for index in used:
        words = segment.slot(index).words
        handled, head = words[layout.HANDLED], words[layout.HEAD]
        sent, tail = words[layout.SENT], words[layout.TAIL]
        sent_total += sent
        received_total += handled
        if tail > head:
            waiting_bytes += tail - head - skipped(words, head)
            messages += max(1, sent - handled)
        unanswered += words[layout.UNANSWERED]
        nanoseconds += words[layout.ROUND_TRIP_SUM]
        for bucket in range(_BUCKETS):
            counts[bucket] += words[layout.ROUND_TRIP_COUNTS + bucket]
    return ChannelStatistics(
        messages=messages,
        bytes=waiting_bytes,
        capacity_bytes=capacity,
        sent_total=sent_total,
        received_total=received_total,
        redelivered_total=segment.words[layout.REDELIVERED],
        dead_letters=segment.words[layout.DEAD_LETTERS],
        senders=len(used),
        round_trips=Histogram(ROUND_TRIP_BOUNDS, tuple(counts), nanoseconds / 1e9),
        unanswered_total=unanswered,
    )


def longest_wait(segment: Segment) -> int:
    """Bytes that the sender with the most of them has waiting."""
    slots = [segment.slot(index).words for index in segment.used_slots()]
    freed = [(words, words[layout.FREED]) for words in slots]
    return max((words[layout.TAIL] - at - skipped(words, at) for words, at in freed), default=0)


def count_round_trip(words: memoryview, seconds: float) -> None:
    """Count an answered question in its sender's own slot of the channel it was sent through."""
    bucket = layout.ROUND_TRIP_COUNTS + bisect_left(ROUND_TRIP_BOUNDS, seconds)
    words[layout.ROUND_TRIP_SUM] += int(seconds * 1e9)
    words[bucket] += 1


def count_unanswered(words: memoryview) -> None:
    words[layout.UNANSWERED] += 1

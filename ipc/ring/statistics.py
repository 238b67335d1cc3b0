"""A channel's counters and its histogram of round trips, read from shared memory without a lock."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from ipc.ring import layout
from ipc.ring.layout import Segment, skipped

#: Upper bounds of the buckets of round trips, in seconds; one more bucket has no bound.
ROUND_TRIP_BOUNDS: Final = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
_BUCKETS: Final = len(ROUND_TRIP_BOUNDS) + 1


@dataclass(frozen=True)
class Histogram:
    """A histogram of durations; unlike Prometheus', its counts are not cumulative.

    `counts[i]` is the number of durations up to `bounds[i]` seconds and above the bound before
    it; the last count, without a bound, is the number above all bounds.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_seconds: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> list[int]:
        """Return the counts up to each bound, and of all: Prometheus' `le` buckets."""
        total = 0
        return [total := total + count for count in self.counts]


@dataclass(frozen=True)
class ChannelStatistics:
    """A channel at one moment; totals are since its creation, and a SIGKILL may cost them one."""

    messages: int
    """in the channel, including those in flight"""
    bytes: int
    """memory that these messages take"""
    capacity_bytes: int
    """bytes that each sender may have in the channel before it has to wait"""
    sent_total: int
    received_total: int
    """acknowledged, or set aside"""
    redelivered_total: int
    dead_letters: int
    """messages set aside since the channel was created, replayed or dropped ones included"""
    senders: int
    """slots that were used: processes that have sent, a replacement not counted again"""
    round_trips: Histogram
    """durations of `send_sync` to this channel: from before sending until the answer is there"""
    unanswered_total: int
    """calls of `send_sync` that ended with Timeout"""


def read(segment: Segment, capacity: int) -> ChannelStatistics:
    """Read the counters, without a lock, while other processes update them."""
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
    """Return the bytes in the channel of the sender that has most of them."""
    slots = [segment.slot(index).words for index in segment.used_slots()]
    freed = [(words, words[layout.FREED]) for words in slots]
    return max((words[layout.TAIL] - at - skipped(words, at) for words, at in freed), default=0)


def count_round_trip(words: memoryview, seconds: float) -> None:
    """Count an answered `send_sync` in the asking process's slot of the asked module's inbox."""
    bucket = layout.ROUND_TRIP_COUNTS + bisect_left(ROUND_TRIP_BOUNDS, seconds)
    words[layout.ROUND_TRIP_SUM] += int(seconds * 1e9)
    words[bucket] += 1


def count_unanswered(words: memoryview) -> None:
    words[layout.UNANSWERED] += 1

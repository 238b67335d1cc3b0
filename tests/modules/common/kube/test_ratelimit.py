"""The client-side rate limit, with a clock that the test moves."""

from __future__ import annotations

import pytest

from modules.common.kube.ratelimit import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def taken(bucket: TokenBucket) -> int:
    """Take all tokens, and return how many there were."""
    count = 0
    while bucket.try_take():
        count += 1
    return count


def test_a_burst_at_once_and_no_more_however_long_nothing_was_asked() -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, 5, clock)
    assert taken(bucket) == 5
    clock.now = 1.0
    assert taken(bucket) == 2
    clock.now = 1000.0
    assert taken(bucket) == 5


def test_who_is_over_the_limit_waits_in_order_of_arrival() -> None:
    bucket = TokenBucket(2.0, 2, Clock())
    assert [bucket.reserve() for _ in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("qps", [0.0, -1.0])
def test_no_limit(qps: float) -> None:
    bucket = TokenBucket(qps, 1, Clock())
    assert [bucket.reserve() for _ in range(3)] == [0.0] * 3

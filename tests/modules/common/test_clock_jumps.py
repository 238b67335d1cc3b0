"""A wall clock that is set is noticed, and one that is slewed is not."""

from __future__ import annotations

import pytest

from modules.common.clock_jumps import ClockJumps


class Clocks:
    wall = 1e9
    monotonic = 0.0

    def pass_by(self, seconds: float, *, slewed: float = 0.0) -> None:
        self.monotonic += seconds
        self.wall += seconds + slewed


@pytest.mark.parametrize("jump", [2 * 86_400.0, -2 * 86_400.0])
def test_what_is_old_by_a_clock_that_was_set_is_not_trusted_for_a_while(jump: float) -> None:
    clocks = Clocks()
    clock = ClockJumps(lambda: clocks.wall, lambda: clocks.monotonic)
    assert clock.settled(3600)
    clocks.pass_by(30)
    clocks.wall += jump
    for _ in range(120):
        assert not clock.settled(3600)
        clocks.pass_by(30)
    assert clock.settled(3600)


def test_a_slewed_clock_is_trusted() -> None:
    clocks = Clocks()
    clock = ClockJumps(lambda: clocks.wall, lambda: clocks.monotonic)
    for _ in range(100):
        clocks.pass_by(30, slewed=10)
        assert clock.settled(3600)

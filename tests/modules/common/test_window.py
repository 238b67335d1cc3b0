"""The window of messages to one node that are not acknowledged."""

from itertools import pairwise

import pytest

from modules.common.sync import window
from modules.common.sync.journal import Item
from modules.common.sync.window import Window
from tests.support.timers import Timers

POD: Item = ("pod", "ns", "p")

#: A day, in seconds.
DAY = 24 * 3600.0


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    return Timers(monkeypatch, window)


def sent_at(timers: Timers) -> list[float]:
    """Send a message, and again each time that the window says so; return when, as time passes."""
    times = []

    def send(item: Item) -> None:
        times.append(timers.now)
        waiting.add(item, len(times))

    waiting = Window[int](send)
    send(POD)
    return times


def test_pauses_before_a_resend_grow(timers: Timers) -> None:
    times = sent_at(timers)
    timers.pass_by(300.0)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_an_object_that_is_never_acknowledged_is_sent_for_ever(timers: Timers) -> None:
    """2,000 times is more than a day; a factor of two for each has no float."""
    times = sent_at(timers)
    timers.pass_by(2 * DAY)
    assert len(times) > 2000
    assert times[-1] - times[-2] == window.LONGEST

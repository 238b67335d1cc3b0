"""A few lines a minute for each client; what was left out is told."""

from __future__ import annotations

import logging

import pytest

from modules.common import log_limit
from modules.common.log_limit import LogLimit

log = logging.getLogger("test")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> Clock:
    caplog.set_level(logging.INFO)
    return Clock()


def test_each_client_has_its_lines_and_the_next_one_tells_the_rest(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    limit = LogLimit(log, lines=2, now=clock)
    for number in range(5):
        limit.put("a", logging.INFO, f"a {number}")
    limit.put("b", logging.INFO, "b")
    clock.now += 60
    limit.put("a", logging.INFO, "a 5")
    limit.put("a", logging.INFO, "a 6")
    assert caplog.messages == ["a 0", "a 1", "b", "a 5 (and 3 more in the time before)", "a 6"]
    limit.flush()
    assert len(caplog.messages) == 5


def test_after_its_minute_the_last_line_is_told_if_there_is_no_next(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    limit = LogLimit(log, lines=1, now=clock)
    limit.put("a", logging.INFO, "connected")
    limit.put("a", logging.INFO, "connected")
    limit.put("a", logging.WARNING, "disconnected")
    limit.flush()
    assert caplog.messages == ["connected"]
    clock.now += 60
    limit.flush()
    limit.put("a", logging.INFO, "one too many in this minute")
    assert caplog.messages[1:] == ["disconnected (and 1 more in the time before)"]
    assert caplog.records[-1].levelno == logging.WARNING
    clock.now += 60
    limit.flush()
    assert caplog.messages[2:] == ["one too many in this minute"]


def test_clients_without_end_are_forgotten_and_nothing_that_was_left_out(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_limit, "_REMEMBERED", 10)
    limit = LogLimit(log, lines=1, now=clock)
    limit.put("a", logging.INFO, "first")
    limit.put("a", logging.INFO, "second")
    for number in range(100):
        limit.put(f"{number}", logging.INFO, "other")
    assert len(limit._clients) == 10
    assert not limit._held
    assert caplog.messages.count("second") == 1

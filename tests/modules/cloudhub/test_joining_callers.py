"""The rate limit of an address, and the log lines about it."""

from __future__ import annotations

import logging

import pytest

from modules.cloudhub.joining import callers
from modules.cloudhub.joining.callers import Callers


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_after_the_burst_one_has_to_wait() -> None:
    clock = Clock()
    limit = Callers(rate=0.5, burst=2, now=clock)
    assert limit.wait("10.0.0.1") == 0
    limit.take("10.0.0.1")
    limit.take("10.0.0.1")
    assert limit.wait("10.0.0.1") == pytest.approx(2.0)
    assert limit.wait("10.0.0.2") == 0
    clock.now += 2
    assert limit.wait("10.0.0.1") == 0
    clock.now += 1000
    limit.take("10.0.0.1")
    limit.take("10.0.0.1")
    assert limit.wait("10.0.0.1") > 0  # no more than the burst is saved up


def test_an_ipv6_host_is_limited_as_a_network() -> None:
    limit = Callers(rate=1, burst=1, now=Clock())
    limit.take("2001:db8:0:1::5")
    assert limit.wait("2001:db8:0:1:ffff::6") > 0
    assert limit.wait("2001:db8:0:2::5") == 0
    limit.take("::ffff:10.0.0.1")
    assert limit.wait("::ffff:10.0.0.2") == 0


def test_addresses_without_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_REMEMBERED", 10)
    limit = Callers(rate=1, burst=1, now=Clock())
    for number in range(100):
        limit.take(f"10.0.0.{number}")
    assert len(limit._callers) == 10
    assert limit.wait("10.0.0.99") > 0


def test_refusals_are_logged_once_a_minute_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = Clock()
    limit = Callers(rate=1, burst=1, now=clock)
    for _ in range(5):
        limit.refused("10.0.0.1", "no")
    limit.refused("10.0.0.2", "no")
    clock.now += 61
    limit.refused("10.0.0.1", "no")
    assert [each.message for each in caplog.records] == [
        "request from 10.0.0.1 refused: no",
        "request from 10.0.0.2 refused: no",
        "request from 10.0.0.1 refused: no (and 4 more in the time before)",
    ]

import logging

import pytest

from modules.common import failure_log
from modules.common.failure_log import FailureLog

log = logging.getLogger("tests.failurelog")


def test_beginning_change_and_end_are_logged_but_no_repetition(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    failures = FailureLog(log)
    for attempt in range(3):
        failures.failed("a", "full", f"a is full: {attempt}")
    failures.failed("b", "full", "b is full")
    failures.failed("a", "gone", "a is gone")
    for key in "aab":
        failures.worked(key, f"{key} works again")
    failures.failed("a", "gone", "a is gone once more")
    assert caplog.messages == [
        *("a is full: 0", "b is full", "a is gone"),
        *("a works again", "b works again", "a is gone once more"),
    ]


def test_it_remembers_no_more_than_so_many(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure_log, "_REMEMBERED", 2)
    failures = FailureLog(log)
    for key in "abca":
        failures.failed(key, "full", key)
    assert caplog.messages == ["a", "b", "c", "a"]

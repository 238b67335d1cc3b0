from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.unit import shared_state as shared_state_module
from supervisor.unit.context import _Reports
from supervisor.unit.shared_state import LastWords, SharedState


@pytest.fixture
def shared_state() -> Iterator[SharedState]:
    made = SharedState()
    yield made
    made.close()


def test_a_new_state_is_empty(shared_state: SharedState) -> None:
    assert (
        shared_state.ready,
        shared_state.cleaned,
        shared_state.details(),
        shared_state.last_words(),
    ) == (False, False, {}, None)


def test_what_is_said_can_be_read(shared_state: SharedState) -> None:
    shared_state.report_ready()
    shared_state.report_cleaned()
    for number in range(3):
        shared_state.report_details({"number": number})
    words = LastWords("why", "where", exit_status=75)
    shared_state.report_last_words(words)
    assert (shared_state.ready, shared_state.cleaned) == (True, True)
    assert shared_state.details() == {"number": 2}
    assert shared_state.last_words() == words


def test_details_that_are_too_large_are_refused_and_the_old_ones_stay(
    shared_state: SharedState,
) -> None:
    shared_state.report_details({"a": 1})
    with pytest.raises(ValueError, match="of 65536 that are allowed"):
        shared_state.report_details({"a": "x" * 70_000})
    assert shared_state.details() == {"a": 1}


def test_last_words_that_are_too_long_keep_their_end(shared_state: SharedState) -> None:
    shared_state.report_last_words(LastWords("why", "x" * 100_000 + "the end"))
    words = shared_state.last_words()
    assert words
    assert words.traceback.endswith("the end")


def test_details_stay_until_they_are_replaced_or_removed(shared_state: SharedState) -> None:
    reports = _Reports()
    reports._set_up(shared_state, {})
    reports.report(waiting_for="pods", server="https://a")
    reports.report(server="https://b")
    assert shared_state.details() == {"waiting_for": "pods", "server": "https://b"}
    reports.report(waiting_for=None)
    assert shared_state.details() == {"server": "https://b"}


def test_details_are_read_whatever_a_module_has_written_there(shared_state: SharedState) -> None:
    shared_state.report_details({"a": 1})
    shared_state._words[shared_state_module._WHICH] = 2**64 - 1
    assert shared_state.details() == {"a": 1}

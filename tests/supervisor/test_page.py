from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.unit.context import _Life
from supervisor.unit.shared_state import (
    LastWords,
    SharedState,
)


@pytest.fixture
def page() -> Iterator[SharedState]:
    made = SharedState()
    yield made
    made.close()


def test_a_new_page_says_nothing(page: SharedState) -> None:
    assert (page.ready, page.cleaned, page.details(), page.last_words()) == (False, False, {}, None)


def test_what_is_said_can_be_read(page: SharedState) -> None:
    page.say_ready()
    page.say_cleaned()
    for number in range(3):
        page.say_details({"number": number})
    words = LastWords("why", "where", exit_status=75)
    page.say_last_words(words)
    assert (page.ready, page.cleaned) == (True, True)
    assert page.details() == {"number": 2}
    assert page.last_words() == words


def test_details_that_are_too_large_are_refused_and_the_old_ones_stay(page: SharedState) -> None:
    page.say_details({"a": 1})
    with pytest.raises(ValueError, match="65536 are possible"):
        page.say_details({"a": "x" * 70_000})
    assert page.details() == {"a": 1}


def test_last_words_that_are_too_long_keep_their_end(page: SharedState) -> None:
    page.say_last_words(LastWords("why", "x" * 100_000 + "the end"))
    words = page.last_words()
    assert words
    assert words.traceback.endswith("the end")


def test_details_stay_until_they_are_replaced_or_removed(page: SharedState) -> None:
    life = _Life()
    life._live(page, {})
    life.report(waiting_for="pods", server="https://a")
    life.report(server="https://b")
    assert page.details() == {"waiting_for": "pods", "server": "https://b"}
    life.report(waiting_for=None)
    assert page.details() == {"server": "https://b"}

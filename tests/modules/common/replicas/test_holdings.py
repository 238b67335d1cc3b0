"""The takeover protocol, step by step."""

from __future__ import annotations

from modules.common.replicas.holdings import Claim, Holdings, NodeLease


def test_a_node_without_a_lease_is_held_when_the_lease_is_written() -> None:
    held = Holdings("a")
    assert held.dialed("n") == Claim("a", 1, "")
    assert "n" not in held
    held.written("n", NodeLease("a", 1, "7"))
    assert "n" in held
    assert held.holder("n") == "a"


def test_a_node_of_another_is_claimed_with_the_next_number_and_its_version() -> None:
    held = Holdings("a")
    assert not held.seen("n", NodeLease("b", 4, "9"))
    assert held.dialed("n") == Claim("a", 5, "9")


def test_a_node_that_was_held_here_last_is_served_at_once() -> None:
    held = Holdings("a")
    held.seen("n", NodeLease("a", 4, "9"))
    assert held.dialed("n") is None
    assert len(held) == 1
    held.left("n")
    assert len(held) == 0
    assert held.dialed("n") is None


def test_a_lease_that_may_name_another_by_now_is_written_as_it_is() -> None:
    held = Holdings("a")
    held.seen("n", NodeLease("a", 4, "9"))
    claim = held.dialed("n", is_sure=False)
    assert claim == Claim("a", 4, "9")
    assert "n" not in held
    assert held.written("n", NodeLease("a", 4, "12"))
    assert "n" in held
    assert not held.seen("n", NodeLease("a", 4, "12"))


def test_a_lease_that_was_not_sure_and_names_another_is_claimed_from_it() -> None:
    held = Holdings("a")
    held.seen("n", NodeLease("a", 4, "9"))
    claim = held.dialed("n", is_sure=False)
    assert claim is not None
    held.read("n", NodeLease("b", 5, "11"), claim)
    assert held.dialed("n", is_sure=False) == Claim("a", 6, "11")
    assert held.written("n", NodeLease("a", 6, "12"))
    assert not held.seen("n", NodeLease("b", 5, "11"))
    assert "n" in held


def test_a_node_that_another_has_taken_is_let_go_once() -> None:
    held = Holdings("a")
    held.written("n", NodeLease("a", 1, "7"))
    assert held.seen("n", NodeLease("b", 2, "8"))
    assert "n" not in held
    assert not held.seen("n", NodeLease("b", 2, "8"))
    assert not held.seen("n", NodeLease("c", 3, "9"))


def test_an_event_that_is_older_than_the_own_write_is_not_heeded() -> None:
    held = Holdings("a")
    held.written("n", NodeLease("a", 3, "9"))
    assert not held.seen("n", NodeLease("b", 2, "8"))
    assert held.holder("n") == "a"


def test_a_lease_that_begins_anew_after_a_deletion_counts() -> None:
    held = Holdings("a")
    held.written("n", NodeLease("a", 8, "9"))
    assert not held.seen("n", None)
    assert "n" in held
    assert held.seen("n", NodeLease("b", 1, "12"))


def test_a_claim_whose_answer_comes_after_that_of_another_is_not_held() -> None:
    held = Holdings("a")
    held.seen("n", NodeLease("c", 1, "5"))
    held.seen("n", NodeLease("a", 2, "6"))  # the own claim, of which the answer is on its way
    held.seen("n", NodeLease("b", 3, "7"))
    assert not held.written("n", NodeLease("a", 2, "6"))
    assert "n" not in held
    assert held.holder("n") == "b"


def test_a_restored_api_has_lower_numbers_and_counts() -> None:
    held = Holdings("a")
    held.written("n", NodeLease("a", 8, "90"))
    held.seen("n", NodeLease("a", 8, "90"))
    assert not held.seen("n", NodeLease("b", 3, "40"))
    assert "n" in held  # its edge is still here
    assert held.is_to_be_claimed_anew("n")
    assert held.dialed("n") == Claim("a", 4, "40")
    assert held.seen("n", NodeLease("b", 4, "41"))
    assert not held.is_to_be_claimed_anew("n")


def test_what_a_refused_claim_has_found_counts_whatever_its_number() -> None:
    held = Holdings("a")
    held.seen("n", NodeLease("b", 8, "90"))
    claim = held.dialed("n")
    assert claim is not None
    held.read("n", NodeLease("c", 3, "40"), claim)
    assert held.dialed("n") == Claim("a", 4, "40")
    assert not held.seen("n", NodeLease("b", 2, "39"))  # the watch has not come to it yet
    assert held.holder("n") == "c"


def test_what_a_refused_claim_has_found_does_not_undo_what_the_watch_has_shown_since() -> None:
    held = Holdings("a")
    held.seen("n", NodeLease("b", 8, "90"))
    claim = held.dialed("n")
    assert claim is not None
    held.seen("n", NodeLease("a", 9, "91"))
    held.seen("n", NodeLease("b", 10, "92"))
    held.read("n", NodeLease("a", 9, "91"), claim)
    assert held.holder("n") == "b"

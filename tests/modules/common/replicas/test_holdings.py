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

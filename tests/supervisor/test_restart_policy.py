from __future__ import annotations

import pytest

from supervisor.unit.restart_policy import RestartPolicy, Supervision


def delays(policy: RestartPolicy, *times: float, ready_for: float = 0) -> list[float | None]:
    return [policy.delay(now, ready_for) for now in times]


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer_and_longer() -> None:
    policy = RestartPolicy(Supervision(jitter=0, backoff_max=0.5))
    assert delays(policy, 0, 0, 0, 0, 0) == [0.0, 0.1, 0.2, 0.4, 0.5]


def test_too_many_deaths_within_the_period_are_the_end() -> None:
    policy = RestartPolicy(Supervision(max_restarts=2, period=10))
    assert None not in delays(policy, 0, 1)
    assert policy.delay(2, 0) is None


def test_deaths_slide_out_of_the_period() -> None:
    policy = RestartPolicy(Supervision(max_restarts=2, period=10))
    assert None not in delays(policy, 0, 6, 12, 18, 24)


def test_a_temporary_failure_waits_as_long_as_others_and_is_not_counted() -> None:
    policy = RestartPolicy(Supervision(jitter=0, max_restarts=1, backoff_max=0.5))
    waits = [policy.delay(now, 0, temporary=True) for now in range(6)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.5, 0.5]
    assert delays(policy, 6, 7) == [0.5, None]


def test_being_healthy_forgets_earlier_deaths() -> None:
    policy = RestartPolicy(Supervision(max_restarts=2, healthy_after=5))
    delays(policy, 0, 1)
    assert policy.delay(8, ready_for=5) == 0.0


def test_jitter_stays_within_its_part() -> None:
    policy = RestartPolicy(Supervision(jitter=0.5, max_restarts=1000, backoff_max=10))
    waits = delays(policy, *range(200))[50:]
    assert all(wait is not None and 5 <= wait <= 10 for wait in waits)
    assert len(set(waits)) > 1


@pytest.mark.parametrize(
    ("restart", "after_failure", "after_success"),
    [("always", True, True), ("on-failure", True, False), ("never", False, False)],
)
def test_whether_a_death_is_followed_by_a_restart(
    restart: str, after_failure: bool, after_success: bool
) -> None:
    policy = RestartPolicy(Supervision(restart=restart))
    assert policy.wanted(failure=True) is after_failure
    assert policy.wanted(failure=False) is after_success


def test_a_module_that_dies_for_ever_is_waited_for_no_longer_than_the_maximum() -> None:
    policy = RestartPolicy(Supervision(max_restarts=10_000, period=1e9, backoff_factor=1e200))
    waits = delays(policy, *range(3000))
    assert all(wait is not None and wait <= 10 for wait in waits)


@pytest.mark.parametrize("life", [0.01, 0.3, 1.0, 10.0, 30.0])
def test_by_default_one_that_never_becomes_ready_is_given_up(life: float) -> None:
    """However long it takes to die, up to its start_timeout."""
    policy, now, deaths = RestartPolicy(Supervision()), 0.0, 0
    while True:
        now += life
        deaths += 1
        delay = policy.delay(now, ready_for=0)
        if delay is None:
            break
        now += delay
        assert deaths < 100
    assert deaths == Supervision().max_restarts + 1

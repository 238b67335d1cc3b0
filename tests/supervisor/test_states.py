from __future__ import annotations

import itertools

import pytest

from supervisor.unit.states import TRANSITIONS, ForbiddenTransition, State, check

ALLOWED = {
    "disabled": "stopped",
    "stopped": "starting disabled",
    "starting": "ready crashed stopping",
    "ready": "crashed stopping",
    "stopping": "stopped backoff failed",
    "crashed": "backoff failed stopped",
    "backoff": "starting stopped",
    "failed": "starting stopped disabled",
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(State, State)))
def test_every_transition_is_allowed_or_forbidden_as_documented(old: State, new: State) -> None:
    if new in ALLOWED[old].split():
        check("m", old, new)
    else:
        with pytest.raises(ForbiddenTransition, match=f"'m' cannot go from {old} to {new}"):
            check("m", old, new)


def test_the_table_has_every_state() -> None:
    assert set(TRANSITIONS) == set(State)

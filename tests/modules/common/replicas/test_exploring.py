"""Every history up to a number of failures: none is wrong, and each broken rule makes one so."""

from __future__ import annotations

import pytest

from tests.modules.common.replicas.breaks import BREAKS, WeakRowsAreTakenOnce
from tests.modules.common.replicas.exploring import SERVED, Budget, Found, explore
from tests.modules.common.replicas.model import Replica

pytestmark = pytest.mark.timeout(240)

#: Two moves of an edge that has its object, which it is to lose and to have again.
MOVES = Budget(dials=3, needs=2)


@pytest.mark.parametrize(
    "budget",
    [
        MOVES,
        Budget(dials=2, needs=1, ends=1, crashes=1),
        Budget(dials=2, needs=1, lost=1, deleted=1),
    ],
    ids=["moves", "crashes", "lost answers"],
)
def test_no_history_ends_with_an_older_state(budget: Budget) -> None:
    found = explore(Replica, budget, SERVED)
    assert found.history is None, told(found)
    assert found.states > 1000


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_each_broken_rule_has_a_history_that_is_wrong(broken: type[Replica]) -> None:
    dials = 4 if broken is WeakRowsAreTakenOnce else MOVES.dials
    found = explore(broken, MOVES._replace(dials=dials), SERVED)
    assert found.history is not None, f"none of {found.states} states is wrong"
    print(told(found))


def told(found: Found) -> str:
    """Return the shortest wrong history in words."""
    steps = [
        f"{step} {'ab'[number]}" if number >= 0 else step for step, number in found.history or ()
    ]
    return f"after {found.states} states: {', '.join(steps)}"

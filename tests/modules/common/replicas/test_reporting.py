"""No history in which a report is written over a later one; each broken rule makes one so."""

from __future__ import annotations

import pytest

from tests.modules.common.replicas.reporting import Budget, Rules, Searched, search

pytestmark = pytest.mark.timeout(240)

#: An edge that goes to another replica and comes back, and reports at each.
RETURN = Budget(dials=3, reports=3)
#: One that goes, while a controller of the cluster changes the object.
LABELLED = Budget(dials=2, reports=2, labels=1)


@pytest.mark.parametrize(
    "budget",
    [
        RETURN,
        LABELLED,
        Budget(dials=2, reports=2, lost=1, crashes=1),
        Budget(dials=2, reports=2, labels=1, hub_crashes=1),
    ],
    ids=["return", "labels", "lost answers and crashes", "crashes of CloudHub"],
)
def test_no_report_is_written_over_a_later_one(budget: Budget) -> None:
    found = search(budget)
    assert found.history is None, told(found)
    assert found.latest_is_written
    assert found.states > 5000


@pytest.mark.parametrize(
    ("budget", "broken"),
    [
        (RETURN, Rules(names_a_version=False)),
        (RETURN, Rules(trusts_what_was_seen=True)),
        (RETURN, Rules(trusts_what_was_read=True)),
        (RETURN, Rules(believes_the_watch=True)),
        (LABELLED, Rules(reads_the_object_first=False)),
        (RETURN, Rules(drops_with_the_connection=False)),
    ],
    ids=list(Rules._fields),
)
def test_each_broken_rule_has_a_history_that_is_wrong(budget: Budget, broken: Rules) -> None:
    found = search(budget, broken)
    assert found.history is not None, f"none of {found.states} states is wrong"
    print(told(found))


def told(found: Searched) -> str:
    """Return the shortest wrong history in words."""
    steps = [f"{step} {number}" if number >= 0 else step for step, number in found.history or ()]
    return f"after {found.states} states: {', '.join(steps)}"

"""States of modules and their transitions; reasons of Kubernetes Events and of conditions."""

from __future__ import annotations

from docs.generate.markdown import code, prose, table
from modules.common.kube.reasons import Reason
from supervisor.unit.states import TRANSITIONS


def states() -> str:
    """Return the table of transitions."""
    rows = [
        (code(old), ", ".join(code(new) for new in sorted(to))) for old, to in TRANSITIONS.items()
    ]
    return table(("state", "can become"), rows)


def reasons() -> str:
    """Return the table of reasons."""
    rows = [(code(each), prose(each.of), prose(each.meaning)) for each in Reason]
    return table(("reason", "of", "meaning"), rows)

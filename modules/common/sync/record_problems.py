"""What the configuration of a controller has to say about its record, if there are replicas."""

from __future__ import annotations

from supervisor.api import Problem, Settings


def record_problems(module: str, record: str, settings: Settings) -> list[Problem]:
    """Return the fault of a record that replicas do not share."""
    if not settings.replicas.enabled or record == "objectsync":
        return []
    reason = f"replicas share the record of what edges have, and this is {record!r}"
    hint = f'set modules.{module}.record = "objectsync"'
    return [Problem(f"modules.{module}.record", reason, hint)]

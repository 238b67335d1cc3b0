"""What CloudHub counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Statistics:
    """Totals since the module's start."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """connections that got no session, by cause"""
    ended: Counter[str] = field(default_factory=Counter)
    """sessions that are over, by cause"""
    messages_up: int = 0
    messages_down: int = 0
    keepalives: int = 0
    not_connected: int = 0
    """messages for nodes that were not connected"""
    superseded: int = 0
    """messages that a later state of the same object made superfluous"""
    throttled: int = 0
    """times that a node was not read because it sent more than it may"""
    late_answers: int = 0
    undeliverable_up: int = 0
    undeliverable_down: int = 0

    def as_details(self) -> dict[str, Any]:
        """Return the counts as a module's details are shown."""
        details = {each.name: getattr(self, each.name) for each in fields(self)}
        return details | {"refused": dict(self.refused), "ended": dict(self.ended)}

"""What CloudHub counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
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
    late_answers: int = 0
    undeliverable_up: int = 0
    undeliverable_down: int = 0

    def as_details(self) -> dict[str, Any]:
        """Return the counts as a module's details are shown."""
        return {
            "accepted": self.accepted,
            "refused": dict(self.refused),
            "ended": dict(self.ended),
            "messages_up": self.messages_up,
            "messages_down": self.messages_down,
            "keepalives": self.keepalives,
            "not_connected": self.not_connected,
            "superseded": self.superseded,
            "late_answers": self.late_answers,
            "undeliverable_up": self.undeliverable_up,
            "undeliverable_down": self.undeliverable_down,
        }

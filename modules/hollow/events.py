"""The events of a hollow edge, which `cloudcore hollow` prints one per line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from modules.common.times import format_time


@dataclass(frozen=True, slots=True)
class Event:
    """An event of `kind` about `subject`, which is a resource or the server's URL."""

    node: str
    kind: str
    subject: str
    detail: str = ""
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    def as_text(self) -> str:
        when = datetime.fromtimestamp(self.at).astimezone()
        line = f"{when:%H:%M:%S}.{when.microsecond // 1000:03} {self.node} {self.kind}"
        return " ".join(part for part in (line, self.subject, self.detail) if part)

    def as_json(self) -> str:
        fields = {
            "time": format_time(datetime.fromtimestamp(self.at, UTC), "milliseconds"),
            "node": self.node,
            "event": self.kind,
            "subject": self.subject,
            "detail": self.detail,
        }
        return msgspec.json.encode(fields).decode()


Emit = Callable[[str, str, str], None]
"""Called with kind, subject and detail of an event."""

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


class RepeatedFailures:
    """Events of one kind about what is tried again and again: emitted once for each reason."""

    def __init__(self, emit: Emit, kind: str) -> None:
        self._emit = emit
        self._kind = kind
        self._reasons: dict[str, str] = {}

    def failed(self, subject: str, text: str, reason: str = "") -> None:
        """Emit the text, unless the attempt before has failed for the same reason.

        The reason is by default the text.
        """
        reason = reason or text
        if self._reasons.get(subject) != reason:
            self._reasons[subject] = reason
            self._emit(self._kind, subject, text)

    def worked(self, subject: str) -> bool:
        """Forget the failure of a subject; whether there was one."""
        return self._reasons.pop(subject, None) is not None

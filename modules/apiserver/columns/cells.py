"""A column, and functions for the cells of many columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modules.apiserver.meta.objects import Json, dig

NONE = "<none>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True)
class Column:
    """A column; a `wide` one (priority 1) is shown only by `-o wide`."""

    name: str
    cell: Callable[[Json], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    wide: bool = False

    def definition(self) -> Json:
        """Return the TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or self.name,
            "priority": int(self.wide),
        }


def text(*path: str, default: str = "") -> Callable[[Json], str]:
    """Return a cell function for the string at `path`."""

    def cell(obj: Json) -> str:
        value = dig(obj, *path)
        return default if value in (None, "") else str(value)

    return cell


def count(*paths: str) -> Callable[[Json], int]:
    """Return a cell function for the number of items in the top-level fields `paths`."""
    return lambda obj: sum(len(obj.get(path) or ()) for path in paths)


def since(timestamp: Any, now: datetime | None = None) -> str:
    """Return the age of an RFC 3339 time, in kubectl's format."""
    if not timestamp:
        return UNKNOWN
    try:
        then = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return "<invalid>"
    return human_duration(((now or datetime.now(UTC)) - then).total_seconds())


def age(obj: Json) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def human_duration(seconds: float) -> str:
    """Format a duration with up to two units (k8s.io/apimachinery/pkg/util/duration)."""
    if seconds < -1:
        return "<invalid>"
    total = max(0, int(seconds))
    if total < 120:
        return f"{total}s"
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def join_labels(labels: Any) -> str:
    if not labels:
        return NONE
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def first_few(texts: Iterable[str], most: int = 3) -> str:
    """Join the first `most` texts, and append how many are omitted."""
    everything = list(texts)
    shown = ",".join(everything[:most])
    left = len(everything) - most
    return f"{shown} + {left} more..." if left > 0 else shown


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


NAME = Column("Name", lambda obj: obj["metadata"]["name"], format="name")
AGE = Column("Age", age)

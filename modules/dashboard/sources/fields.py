"""Fields of Kubernetes objects, of any type: the embedded API server does not check all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def mapping(holder: Any, name: str) -> dict[str, Any]:
    """Return a field that is to be an object, empty if it is none."""
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def mappings(holder: Any, name: str) -> list[dict[str, Any]]:
    """Return the objects of a field that is to be a list of objects, empty if it is none."""
    value = holder.get(name) if isinstance(holder, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def seconds(timestamp: Any) -> float | None:
    """Return a Kubernetes timestamp in seconds since the epoch; None if it is none."""
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return None

"""Kubernetes times: RFC 3339 in UTC, whole seconds (metav1.Time)."""

from __future__ import annotations

from datetime import UTC, datetime


def parse(text: str | None) -> datetime | None:
    """Read a time; None for none, and for what is not one (Go's zero time is null)."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def form(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def normal(text: str | None) -> str | None:
    """Bring a time into the API's form, without fractions of a second."""
    found = parse(text)
    return form(found) if found else None


def now() -> datetime:
    return datetime.now(UTC)

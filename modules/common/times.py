"""Times as Kubernetes and JSON documents write them: RFC 3339 in UTC, with the suffix "Z".

The one writer and parser of such times in the modules. Kubernetes' metav1.Time has whole seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def now() -> datetime:
    return datetime.now(UTC)


def format_time(time: datetime, timespec: str = "seconds") -> str:
    """Return a time as RFC 3339 text; `timespec` is that of `datetime.isoformat`.

    Digits beyond it are cut off, not rounded. A time without a zone is local time.
    """
    return time.astimezone(UTC).isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def format_now() -> str:
    """Return the present as a Kubernetes time."""
    return format_time(now())


def parse_time(text: str | None) -> datetime | None:
    """Return the time that a text says; None for no text, and for text that is no time.

    Go writes its zero time as null. A time without a zone is taken as UTC.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def normalize_time(text: str | None) -> str | None:
    """Return a time as Kubernetes writes it, without a fraction of a second."""
    found = parse_time(text)
    return format_time(found) if found else None


def parse_http_date(text: str | None) -> datetime | None:
    """Return the time of a Date header (RFC 9110); None for none, and for text that is no date."""
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None

"""Events are kept for an hour only, as kube-apiserver does (--event-ttl)."""

from __future__ import annotations

import time
from datetime import datetime

from modules.apiserver.columns.cells import dig
from modules.apiserver.deletion import Options
from modules.apiserver.objects import Entry
from modules.apiserver.registry import Registry

LIFETIME = 3600.0  # seconds
# As many are removed at a time as do not hold up requests for long.
MOST_AT_A_TIME = 200


def remove_old(registry: Registry, now: float | None = None) -> int:
    """Remove events that nothing has been added to for an hour; return how many."""
    resource = registry.catalog.find("", "v1", "events")
    before = (time.time() if now is None else now) - LIFETIME
    entries = registry.store.collection(resource.storage).entries
    # Oldest revision first: dictionaries keep the order of insertion, not of changes.
    oldest = sorted(entries.values(), key=lambda entry: entry.revision)[:MOST_AT_A_TIME]
    old = [entry for entry in oldest if _last_seen(entry) < before]
    for entry in old:
        registry.delete(resource, *entry.key, Options())
    return len(old)


def _last_seen(entry: Entry) -> float:
    event = entry.decode()
    texts = (
        dig(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"]["creationTimestamp"],
    )
    return max(_seconds(text) for text in texts if text)


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0

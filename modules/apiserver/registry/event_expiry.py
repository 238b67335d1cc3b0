"""Expiry of Events after an hour, as in kube-apiserver (--event-ttl)."""

from __future__ import annotations

import time
from datetime import datetime
from operator import attrgetter

from modules.apiserver.meta.objects import Entry, dig
from modules.apiserver.registry.deletion import Options
from modules.apiserver.registry.registry import Registry
from modules.apiserver.turns import Turn

LIFETIME = 3600.0  # seconds
# Events are visited in the order of their revisions. Their times come from the clocks of their
# writers, so the search goes on until it has met this many that are too young.
MOST_YOUNG = 200


async def remove_old(registry: Registry, now: float | None = None) -> int:
    """Remove, in turns, Events that were last seen an hour ago; return how many."""
    resource = registry.catalog.find("", "v1", "events")
    before = (time.time() if now is None else now) - LIFETIME
    entries = registry.store.collection(resource.storage).entries
    turn = Turn()
    removed = young = 0
    # Oldest revision first: dictionaries keep the order of insertion, not of changes.
    for entry in sorted(entries.values(), key=attrgetter("revision")):
        if _last_seen(entry) >= before:
            young += 1
            if young > MOST_YOUNG:
                break
        elif entries.get(entry.key) is entry:
            registry.delete(resource, *entry.key, Options())
            removed += 1
        if turn.is_over:
            await turn.next()
    return removed


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

"""The recent changes of one resource, from which watches are served.

Watches have no queues: each keeps a position in this history, and a client that falls behind its
oldest event must relist (410 Gone). So a slow client costs no memory.
"""

from __future__ import annotations

import asyncio
from collections import deque

from modules.apiserver.meta.objects import Event

# A node's status has some 6 kB, the line of an Event in a watch 1 kB.
MOST_EVENTS = 8192
MOST_BYTES = 16 * 1024 * 1024


class History:
    """A queue of events, bounded in number and bytes.

    `oldest` is the revision of the last event that was dropped.
    """

    def __init__(
        self, oldest: int, *, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES
    ) -> None:
        self.oldest = oldest
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        # The number of events dropped so far: positions count from the first event ever appended.
        self._dropped = 0
        self._waiting: set[asyncio.Event] = set()

    def append(self, event: Event) -> None:
        self._events.append(event)
        self._bytes += event.size
        while len(self._events) > 1 and (
            len(self._events) > self._most_events or self._bytes > self._most_bytes
        ):
            dropped = self._events.popleft()
            self._bytes -= dropped.size
            self.oldest = dropped.revision
            self._dropped += 1
        for waiting in self._waiting:
            waiting.set()

    @property
    def end(self) -> int:
        """The position after the newest event."""
        return self._dropped + len(self._events)

    def position_after(self, revision: int) -> int | None:
        """Return the position of the first event newer than `revision`; None if it was dropped."""
        if revision < self.oldest:
            return None
        position = self.end
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            position -= 1
        return position

    def read(self, position: int, most_bytes: int) -> list[Event] | None:
        """Return events from `position` on, some `most_bytes`; None if the first was dropped."""
        start = position - self._dropped
        if start < 0:
            return None
        events = []
        for index in range(start, len(self._events)):
            event = self._events[index]
            events.append(event)
            most_bytes -= event.size
            if most_bytes <= 0:
                break
        return events

    def subscribe(self) -> asyncio.Event:
        """Return an event that is set whenever something is appended."""
        waiting = asyncio.Event()
        self._waiting.add(waiting)
        return waiting

    def unsubscribe(self, waiting: asyncio.Event) -> None:
        self._waiting.discard(waiting)

"""The open pages, and what each of them is sent: server-sent events by topic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

#: Pages at most that are open at a time, and of these those of visitors who have not logged in:
#: with `open_to_read` they cannot starve those who have.
MOST: Final = 32
MOST_UNTRUSTED: Final = 16
#: Bytes that may wait for one page: a slower one is disconnected, and begins anew.
_WAITING: Final = 1 << 20


class TooManyViewers(Exception):
    """As many pages are open as may be."""


class Viewer:
    """One open page: the topics that it shows, and what waits to be sent to it."""

    def __init__(self, topics: Collection[str], *, trusted: bool) -> None:
        self.topics = frozenset(topics)
        self.trusted = trusted
        self.too_slow = False
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def offer(self, piece: bytes) -> None:
        """Queue a piece; a page that has fallen too far behind gets no more."""
        if self.too_slow:
            return
        waiting = bool(self._pieces)  # one piece may be as large as it is
        self._bytes += len(piece)
        if waiting and self._bytes > _WAITING:
            self.too_slow = True
            self._pieces.clear()
        else:
            self._pieces.append(piece)
        self._news.set()

    async def take(self, timeout: float) -> bytes:
        """Return all that waits; empty if nothing comes within `timeout` seconds."""
        if not self._pieces and not self.too_slow:
            self._news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
            except TimeoutError:
                return b""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._bytes = 0
        return taken


class Viewers:
    """All open pages."""

    def __init__(self) -> None:
        self._open: set[Viewer] = set()
        self._on_change: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._open)

    def of(self, topic: str) -> int:
        """Return how many pages show a topic."""
        return sum(topic in viewer.topics for viewer in self._open)

    def topics(self) -> set[str]:
        """Return the topics that some page shows."""
        return {topic for viewer in self._open for topic in viewer.topics}

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after each page that opens or closes."""
        self._on_change.append(callback)

    @contextmanager
    def open(self, topics: Collection[str], *, trusted: bool) -> Iterator[Viewer]:
        """Open a page of somebody who has logged in, or has not; raises TooManyViewers."""
        if len(self._open) >= MOST:
            raise TooManyViewers(f"{MOST} pages are open already; close one of them")
        untrusted = sum(not viewer.trusted for viewer in self._open)
        if not trusted and untrusted >= MOST_UNTRUSTED:
            raise TooManyViewers(
                f"{MOST_UNTRUSTED} pages are open without a login already; log in, or close one "
                "of them"
            )
        viewer = Viewer(topics, trusted=trusted)
        self._open.add(viewer)
        self._changed()
        try:
            yield viewer
        finally:
            self._open.discard(viewer)
            self._changed()

    def publish(self, topic: str, document: Any) -> None:
        """Send a document to the pages that show a topic; it is encoded once."""
        interested = [viewer for viewer in self._open if topic in viewer.topics]
        if interested:
            piece = event(topic, document)
            for viewer in interested:
                viewer.offer(piece)

    def _changed(self) -> None:
        for callback in self._on_change:
            callback()


def news(changes: list[Any], *, all: bool = False) -> dict[str, Any]:  # noqa: A002
    """Return changes for pages: those that are new, or all that are kept."""
    return {"all": all, "changes": changes}


def event(topic: str, document: Any) -> bytes:
    """Return a server-sent event; JSON has no line break that could begin another one."""
    return b"event: " + topic.encode() + b"\ndata: " + msgspec.json.encode(document) + b"\n\n"

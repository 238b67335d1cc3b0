"""Streams of state changes and logs, limited in number and in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Final

from supervisor.admin.http import HttpError, Stream

_MOST: Final = 32
#: Bytes that may wait for one follower.
_WAITING: Final = 1 << 20


class Streams:
    """The open streams of trusted, or of untrusted, clients."""

    def __init__(self) -> None:
        self._open: set[Feed] = set()

    def open(self, kind: str, subscribe: Callable[[Feed], Callable[[], None]]) -> Stream:
        """Begin a stream; `subscribe` feeds it, and returns the function that stops that.

        Raises HttpError if too many streams are open.
        """
        if len(self._open) >= _MOST:
            text = f"cannot open a stream: {_MOST} are open already; close one of them"
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, text)
        feed = Feed()
        self._open.add(feed)
        unsubscribe = subscribe(feed)

        def close() -> None:
            unsubscribe()
            self._open.discard(feed)

        return Stream(feed.pieces(), kind, close)

    def close(self) -> None:
        """End all streams, after what they have been fed so far."""
        for feed in self._open:
            feed.end()


class Feed:
    """The queue of one follower; one that falls more than 1 MiB behind is disconnected."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._ended = False

    def offer(self, piece: bytes) -> None:
        if self._ended:
            return
        if self._bytes + len(piece) > _WAITING:
            self.end()
            return
        self._pieces.append(piece)
        self._bytes += len(piece)
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._bytes -= len(piece)
                yield piece
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()

"""The sending side of a channel in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Concatenate, ParamSpec

from ipc import segment as layout
from ipc.errors import ChannelError
from ipc.ring import Writer
from ipc.segment import SLOTS, Segment, fence
from ipc.waiting import Event, Watch

Figures = ParamSpec("Figures")


class Sender:
    """Puts encoded messages into this process's slot; any thread may."""

    def __init__(self, segment: Segment, arrived: Event, capacity: int) -> None:
        self._segment = segment
        self._words = segment.words
        self._arrived = arrived
        self._capacity = capacity
        self._lock = threading.Lock()
        self._writer: Writer | None = None
        self._waiting = 0

    def try_put(self, payload: bytes, prefer_slot: int) -> bool:
        """Put a message if there is room; it is safe from any process's death from then on."""
        with self._lock:
            written = (self._writer or self._claim(prefer_slot)).write(payload)
        if layout.WEAK_MEMORY:
            fence()  # elsewhere releasing the lock was one
        if self._words[layout.SLEEPING]:
            self._arrived.signal()
        return written

    def await_room(self, room: Event) -> Watch:
        """Begin to wait for room: try once more before sleeping on the result."""
        watch = Watch(room)
        with self._lock:
            self._waiting += 1
            if self._writer:
                self._writer.await_room(waiting=True)
        return watch

    def forget_room(self, watch: Watch) -> None:
        """End a wait that `await_room` began."""
        watch.close()
        with self._lock:
            self._waiting -= 1
            if self._writer and not self._waiting:
                self._writer.await_room(waiting=False)

    def note(
        self,
        what: Callable[Concatenate[memoryview, Figures], None],
        *figures: Figures.args,
        **keywords: Figures.kwargs,
    ) -> None:
        """Keep count of something in this process's slot: nobody else writes there."""
        with self._lock:
            if self._writer:
                what(self._writer.words, *figures, **keywords)

    def _claim(self, prefer: int) -> Writer:
        """Take a slot for this process: the one it prefers, or any other that is free.

        A replacement that goes on in its predecessor's slot keeps the order of what they send.
        """
        for index in (prefer, *(i for i in range(SLOTS) if i != prefer)):
            if self._segment.lock(index):
                self._writer = Writer(self._segment.slot(index), self._capacity)
                self._words[layout.CLAIMS + index] = 1
                return self._writer
        raise ChannelError(f"{SLOTS} processes send to this channel already; no slot is free")

"""Messages in flight: each stays in the channel until it has been handled, or takes too long.

A channel gives the room of its messages back in their order. One that the API server fails to write
for ever would keep that of all after it, until nothing of any edge fits into the channel. So while
the API server serves other requests, a message leaves the channel some seconds after it has come,
and is only here; a crash loses it then. During an outage all stay where they are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ipc import Delivery, Message
from modules.common.kube.health import ApiHealth
from modules.common.sync.in_flight import InFlight

#: Seconds for which a message stays in the channel while the API server serves others; seconds
#: without a served request after which there is an outage; and seconds between looks.
_STAY: Final = 10.0
_OUTAGE: Final = 2.0
_LOOK: Final = 1.0

#: Bytes of messages that have left the channel and are not handled, at most; and of one without
#: content, roughly.
_MOST_BYTES: Final = 64 * 2**20
_SMALL: Final = 1024


class _Taken(NamedTuple):
    began: float
    size: int


class Deliveries:
    """Counts the messages in flight, and has those that take long leave the channel."""

    def __init__(
        self, limit: int, health: ApiHealth, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Set up; `limit` is that of the messages in flight, wherever they are."""
        self._in_flight = InFlight(limit)
        self._health = health
        self._now = now
        self._in_channel: dict[Delivery, _Taken] = {}
        """in the order in which they have come"""
        self._elsewhere: dict[Delivery, _Taken] = {}
        """those that have left the channel"""
        self._bytes = 0
        """of those"""
        self._served_since = now()

    def __len__(self) -> int:
        """Return the number of messages in flight."""
        return len(self._in_flight)

    async def room(self) -> None:
        """Wait until fewer messages than the limit are in flight."""
        await self._in_flight.room()

    async def drained(self) -> None:
        """Wait until no message is in flight."""
        await self._in_flight.drained()

    def begin(self, delivery: Delivery) -> None:
        """Count a message as in flight, until `done`."""
        size = max(size_of(delivery.message), _SMALL)
        self._in_channel[delivery] = _Taken(self._now(), size)
        self._in_flight.begin()

    def done(self, delivery: Delivery) -> None:
        """Note that a message has been handled."""
        if taken := self._elsewhere.pop(delivery, None):
            self._bytes -= taken.size
        else:
            self._in_channel.pop(delivery, None)
            delivery.done()
        self._in_flight.end()

    async def run(self) -> None:
        """Have messages leave the channel until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            self.release()

    def release(self) -> None:
        """Have the messages leave the channel that have been there for long without an outage."""
        now = self._now()
        if self._health.unserved_for > _OUTAGE:
            self._served_since = now
        if now < self._served_since + _STAY:
            return
        while self._in_channel:
            delivery, taken = next(iter(self._in_channel.items()))
            if now < taken.began + _STAY or self._bytes + taken.size > _MOST_BYTES:
                break
            self._elsewhere[delivery] = self._in_channel.pop(delivery)
            self._bytes += taken.size
            delivery.done()


def size_of(message: Message) -> int:
    """Return the size of a message's content as its edge has sent it, about that in bytes."""
    return len(message.content) if isinstance(message.content, bytes | str) else 0

"""Edge to cloud: which module a message goes to, and how it gets there.

Every destination has one task that sends to its channel in order. A session whose messages are
not taken as fast as they come is no longer read (pause_reading), so that a flood, or a
controller that is being restarted, fills the edge's TCP window and not this process.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ipc import AsyncContext, ChannelError, ChannelFull, Message
from modules.cloudhub.statistics import Statistics
from modules.common import resources

log = logging.getLogger(__name__)

EDGE_CONTROLLER: Final = "edgecontroller"
DEVICE_CONTROLLER: Final = "devicecontroller"

_TWIN: Final = "twin"
# cloud/pkg/cloudhub/handler/eventhandler.go, VolumePattern
_VOLUME: Final = re.compile(r"\w[-\w.+]*/volume/\w[-\w.+]*", re.ASCII)

#: What one session may have on its way to the channels before it is no longer read.
SESSION_MESSAGES: Final = 64
SESSION_BYTES: Final = 256 * 1024
#: The same for all sessions together.
TOTAL_BYTES: Final = 32 * 1024 * 1024
#: What a message takes beside its content, roughly.
_OVERHEAD: Final = 512


class Source(Protocol):
    """A session, as far as it is read from."""

    node: str
    on_the_way: int
    """messages that have been read and have not reached a channel"""
    bytes_on_the_way: int

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


Item = tuple[Message, Source | None, int]


class Upstream:
    """Routes messages to the groups of modules that handle them."""

    def __init__(self, context: AsyncContext, statistics: Statistics) -> None:
        self._statistics = statistics
        self._bytes = 0
        self._paused: dict[Source, None] = {}  # in the order in which they were paused

        def to_group(group: str) -> Callable[[Message], Awaitable[None]]:
            return lambda message: context.send_to_group(group, message)

        self._lanes = {
            EDGE_CONTROLLER: _Lane(EDGE_CONTROLLER, to_group(EDGE_CONTROLLER), self),
            DEVICE_CONTROLLER: _Lane(DEVICE_CONTROLLER, to_group(DEVICE_CONTROLLER), self),
        }
        self._answers = _Lane("whoever asked", context.send_resp, self)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lane in (*self._lanes.values(), self._answers):
                tasks.create_task(lane.run())

    async def drained(self) -> None:
        """Wait until all that was published has been sent."""
        for lane in (*self._lanes.values(), self._answers):
            await lane.idle.wait()

    def receive(self, message: Message, session: Source) -> None:
        """Pass on what an edge sent: `node/{node}/` goes in front of its resource."""
        if _VOLUME.match(message.resource):
            # Only an answer has such a resource, and nobody waits for it any more.
            self._statistics.late_answers += 1
            log.debug("node %s: late answer %s for %s", session.node, message.id, message.resource)
            return
        message.resource = resources.cloud_resource(session.node, message.resource)
        self._put(self._lane_of(message), message, session)

    def answer(self, message: Message, session: Source | None = None) -> None:
        """Give an answer to the module named in its reply_to."""
        self._put(self._answers, message, session)

    def publish(self, message: Message) -> None:
        """Send what CloudHub itself has to tell, such as connected and disconnected."""
        self._put(self._lane_of(message), message, None)

    def sent(self, item: Item) -> None:
        """Take account of a message that has left; read again from those that had to wait."""
        _, session, size = item
        before, self._bytes = self._bytes, self._bytes - size
        if session is not None:
            session.on_the_way -= 1
            session.bytes_on_the_way -= size
        if not self._paused or self._bytes > TOTAL_BYTES // 2:
            return
        if before > TOTAL_BYTES // 2:
            for waiting in list(self._paused):
                self._read_again(waiting)
        elif session is not None and session in self._paused:
            self._read_again(session)

    def dropped(self) -> None:
        """Count a message that no module takes."""
        self._statistics.undeliverable_up += 1

    def _read_again(self, session: Source) -> None:
        if not session.on_the_way:
            del self._paused[session]
            session.resume_reading()

    def _lane_of(self, message: Message) -> _Lane:
        return self._lanes[DEVICE_CONTROLLER if message.source == _TWIN else EDGE_CONTROLLER]

    def _put(self, lane: _Lane, message: Message, session: Source | None) -> None:
        content = message.content
        size = _OVERHEAD + (len(content) if isinstance(content, bytes | str) else 0)
        self._bytes += size
        if session is not None:
            session.on_the_way += 1
            session.bytes_on_the_way += size
            if (
                session.on_the_way >= SESSION_MESSAGES
                or session.bytes_on_the_way >= SESSION_BYTES
                or self._bytes >= TOTAL_BYTES
            ) and session not in self._paused:
                self._paused[session] = None
                session.pause_reading()
        lane.put((message, session, size))


class _Lane:
    """The way to one destination."""

    def __init__(
        self, name: str, send: Callable[[Message], Awaitable[None]], upstream: Upstream
    ) -> None:
        self._name = name
        self._send = send
        self._upstream = upstream
        self._items: deque[Item] = deque()
        self._failure = ""
        self._filled = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()

    def put(self, item: Item) -> None:
        self._items.append(item)
        if len(self._items) == 1:
            self._filled.set()
            self.idle.clear()

    async def run(self) -> None:
        while True:
            await self._filled.wait()
            while self._items:
                await self._deliver(self._items[0][0])
                self._upstream.sent(self._items.popleft())
            self._filled.clear()
            self.idle.set()

    async def _deliver(self, message: Message) -> None:
        while True:
            try:
                await self._send(message)
            except ChannelFull as error:
                # It is read again when there is room; until then the edges are not read.
                log.warning("%s does not keep up: %s", self._name, error)
            except ChannelError as error:
                self._upstream.dropped()
                if str(error) != self._failure:  # once for each cause, not for each message
                    self._failure = str(error)
                    log.warning(
                        "messages for %s are dropped, first %s %s: %s",
                        *(self._name, message.operation, message.resource, error),
                    )
                return
            else:
                self._failure = ""
                return

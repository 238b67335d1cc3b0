"""Edge to cloud: which module a message goes to, and how it gets there.

Every destination has one task that sends to its channel in order. A session whose messages are
not taken as fast as they come is no longer read (pause_reading), so that a flood, or a
controller that is being restarted, fills the edge's TCP window and not this process.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from ipc import ChannelError, Message, ModuleUnavailable
from modules.cloudhub.channel_sender import ChannelSender
from modules.cloudhub.cluster.directory import DISCONNECTED
from modules.cloudhub.metrics import HubStatistics
from modules.common import message_resource
from supervisor.api import ModuleContext

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
#: What a value of JSON takes as a Python object, roughly, beside its text.
_VALUE: Final = 64


class Source(Protocol):
    """A session, as far as it is read from."""

    node: str
    in_flight: int
    """messages that have been read and have not reached a channel"""
    bytes_in_flight: int

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


Origin = tuple[Source | None, int]
"""the session that a message came from, and its size"""


class Upstream:
    """Routes messages to the groups of modules that handle them."""

    def __init__(self, context: ModuleContext, statistics: HubStatistics) -> None:
        self._context = context
        self._statistics = statistics
        self._bytes = 0
        self._paused: dict[Source, None] = {}  # in the order in which they were paused
        outbox = partial(ChannelSender[Origin], sent=self._sent, dropped=self._dropped)
        self._groups = {
            group: outbox(
                group, partial(self._send, group), send_some=partial(self._send_some, group)
            )
            for group in (EDGE_CONTROLLER, DEVICE_CONTROLLER)
        }
        self._answers = outbox("whoever asked", context.send_resp)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for outbox in (*self._groups.values(), self._answers):
                tasks.create_task(outbox.run())

    async def drained(self) -> None:
        """Wait until all that was published has been sent."""
        for outbox in (*self._groups.values(), self._answers):
            await outbox.idle.wait()

    def receive(self, message: Message, session: Source) -> None:
        """Pass on what an edge sent: `node/{node}/` goes in front of its resource."""
        if "/volume/" in message.resource and _VOLUME.match(message.resource):
            # Only an answer has such a resource, and nobody waits for it any more.
            self._statistics.late_answers += 1
            log.debug("node %s: late answer %s for %s", session.node, message.id, message.resource)
            return
        message.resource = message_resource.cloud_resource(session.node, message.resource)
        self._put(self._outbox_to(message), message, session)

    def answer(self, message: Message, session: Source | None = None) -> None:
        """Give an answer to the module named in its reply_to."""
        self._put(self._answers, message, session)

    def tell(self, message: Message) -> None:
        """Send a message of CloudHub's own the way that an edge's would take."""
        self._put(self._outbox_to(message), message, None)

    def publish(self, message: Message) -> None:
        """Tell all controllers what CloudHub itself has to say: connected and disconnected.

        Go tells EdgeController alone; DeviceController brings a node up to date as well.
        """
        for outbox in self._groups.values():
            self._put(outbox, message, None)

    async def _send(self, group: str, message: Message) -> None:
        try:
            await self._context.send_to_group(group, message)
        except ModuleUnavailable:
            # When all of cloudcore stops, the controllers go first: no news to them.
            if not (self._context.stopping and message.operation == DISCONNECTED):
                raise

    def _send_some(self, group: str, messages: Sequence[Message]) -> int:
        """Send to a group of one module, if it can be sent to; to others one after the other."""
        only, *others = self._context.registry.members(group)
        try:
            return 0 if others else self._context.send_some(only, messages)
        except ModuleUnavailable:
            return 0

    def _sent(self, origin: Origin) -> None:
        """Take account of a message that has left; read again from those that had to wait."""
        session, size = origin
        before, self._bytes = self._bytes, self._bytes - size
        if session is not None:
            session.in_flight -= 1
            session.bytes_in_flight -= size
        if not self._paused or self._bytes > TOTAL_BYTES // 2:
            return
        if before > TOTAL_BYTES // 2:
            for waiting in list(self._paused):
                self._read_again(waiting)
        elif session is not None and session in self._paused:
            self._read_again(session)

    def _dropped(self, _message: Message, _error: ChannelError) -> None:
        self._statistics.undeliverable_up += 1

    def _read_again(self, session: Source) -> None:
        if not session.in_flight:
            del self._paused[session]
            session.resume_reading()

    def _outbox_to(self, message: Message) -> ChannelSender[Origin]:
        return self._groups[DEVICE_CONTROLLER if message.source == _TWIN else EDGE_CONTROLLER]

    def _put(self, outbox: ChannelSender[Origin], message: Message, session: Source | None) -> None:
        size = _OVERHEAD + size_of(message.content)
        self._bytes += size
        if session is not None:
            session.in_flight += 1
            session.bytes_in_flight += size
            if (
                session.in_flight >= SESSION_MESSAGES
                or session.bytes_in_flight >= SESSION_BYTES
                or self._bytes >= TOTAL_BYTES
            ) and session not in self._paused:
                self._paused[session] = None
                session.pause_reading()
        outbox.put(message, (session, size))


def size_of(content: Any) -> int:
    """Estimate the bytes of memory that a message's content takes, within a factor of two.

    Decoded JSON takes up to 25 times its text (`{},{},...`). Each of its values follows one of
    four characters, which are counted faster than objects are measured.
    """
    if isinstance(content, bytes | str):
        return len(content)
    text = msgspec.json.encode(content)
    return len(text) + _VALUE * sum(map(text.count, (b"{", b"[", b",", b":")))

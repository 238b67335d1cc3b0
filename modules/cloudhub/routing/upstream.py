"""Edge to cloud: routes messages to the controllers, with back-pressure.

Every destination has one task that sends to its channel in order. Reading from a session with
too many messages in flight is paused (pause_reading), so that a flood, or a controller that is
being restarted, fills the edge's TCP window instead of this process.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from ipc import ChannelError, Message, ModuleUnavailable
from ipc.message import OP_ERROR, OP_RESPONSE
from modules.cloudhub.channel_sender import ChannelSender
from modules.cloudhub.cluster.directory import DISCONNECTED
from modules.cloudhub.metrics import HubStatistics
from modules.common import message_resource
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)

EDGE_CONTROLLER: Final = "edgecontroller"
DEVICE_CONTROLLER: Final = "devicecontroller"

_TWIN: Final = "twin"
_DEVICE_TYPES: Final = ("device", "devicemodel")
# cloud/pkg/cloudhub/handler/eventhandler.go, VolumePattern
_VOLUME: Final = re.compile(r"\w[-\w.+]*/volume/\w[-\w.+]*", re.ASCII)

# cloud/pkg/cloudhub/dispatcher/message_dispatcher.go of v1.23 passes these on to modules that
# cloudcore does not have: taskmanager, router (uploads of group user) and dynamiccontroller.
_TASKS: Final = frozenset(("prepull", "upgrade", "UpdateNodeActionStatus"))
_UPLOAD: Final = "upload"
_USER: Final = "user"
_METASERVER: Final = "metaserver"
# Edges answer the messages of these sources, and send none of their own in these names.
_CLOUD: Final = frozenset(
    ("cloudhub", "cloudStream", "devicecontroller", "edgecontroller", "synccontroller")
)
_ANSWERS: Final = frozenset((OP_RESPONSE, OP_ERROR))

#: Messages and bytes of one session in flight at which reading from it is paused.
SESSION_MESSAGES: Final = 64
SESSION_BYTES: Final = 256 * 1024
#: Bytes of all sessions in flight at which reading from any sender is paused.
TOTAL_BYTES: Final = 32 * 1024 * 1024
#: Bytes of memory of a message in addition to its content, roughly.
_OVERHEAD: Final = 512
#: Bytes of memory of a decoded JSON value in addition to its text, roughly.
_VALUE: Final = 64


class Source(Protocol):
    """A session, as far as the back-pressure on it is concerned."""

    node: str
    in_flight: int
    """messages that have been read and are not in a channel yet"""
    bytes_in_flight: int

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


Origin = tuple[Source | None, int]
"""the session that a message came from (None: CloudHub itself), and its size"""


class Upstream:
    """Routes messages to the groups of modules that handle them."""

    def __init__(self, context: ModuleContext, statistics: HubStatistics) -> None:
        self._context = context
        self._statistics = statistics
        self._bytes = 0
        self._paused: dict[Source, None] = {}  # in the order in which they were paused
        sender = partial(ChannelSender[Origin], sent=self._sent, dropped=self._dropped)
        self._groups = {
            group: sender(
                group, partial(self._send, group), send_some=partial(self._send_some, group)
            )
            for group in (EDGE_CONTROLLER, DEVICE_CONTROLLER)
        }
        self._answers = sender("the modules that asked", context.send_resp)

    async def run(self) -> None:
        """Send until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for sender in (*self._groups.values(), self._answers):
                tasks.create_task(sender.run())

    async def drained(self) -> None:
        """Wait until the queues are empty."""
        for sender in (*self._groups.values(), self._answers):
            await sender.idle.wait()

    def receive(self, message: Message, session: Source) -> None:
        """Route a message of an edge; its resource is prefixed with `node/{node}/`."""
        if "/volume/" in message.resource and _VOLUME.match(message.resource):
            # Only an answer has such a resource, and its question is no longer pending.
            self._statistics.late_answers += 1
            log.debug("node %s: late answer %s for %s", session.node, message.id, message.resource)
            return
        if not message.resource:
            # Of today's edges, edgecore's last message is an empty one.
            log.debug("node %s: message %s without a resource ignored", session.node, message.id)
            return
        if not _is_served(message):
            self._statistics.unserved += 1
            log.debug(
                "node %s: no module takes %s %.200s of %s",
                *(session.node, message.operation, message.resource, message.source),
            )
            return
        message.resource = message_resource.cloud_resource(session.node, message.resource)
        self._put(self._sender_for(message), message, session)

    def answer(self, message: Message, session: Source | None = None) -> None:
        """Send an answer to the module named in its reply_to."""
        self._put(self._answers, message, session)

    def send_own(self, message: Message) -> None:
        """Route a message of CloudHub itself as if an edge had sent it."""
        self._put(self._sender_for(message), message, None)

    def publish(self, message: Message) -> None:
        """Send a message of CloudHub itself (connected, disconnected) to all controllers.

        Go sends it to EdgeController only; DeviceController resyncs a node as well.
        """
        for sender in self._groups.values():
            self._put(sender, message, None)

    async def _send(self, group: str, message: Message) -> None:
        try:
            await self._context.send_to_group(group, message)
        except ModuleUnavailable:
            # When all of cloudcore stops, the controllers stop first.
            if not (self._context.stopping and message.operation == DISCONNECTED):
                raise

    def _send_some(self, group: str, messages: Sequence[Message]) -> int:
        """Send a batch to a group of one module; 0 if the group has several or is unavailable."""
        only, *others = self._context.registry.members(group)
        try:
            return 0 if others else self._context.send_some(only, messages)
        except ModuleUnavailable:
            return 0

    def _sent(self, origin: Origin) -> None:
        """Account for a message that has left its queue, and resume paused sessions."""
        session, size = origin
        before, self._bytes = self._bytes, self._bytes - size
        if session is not None:
            session.in_flight -= 1
            session.bytes_in_flight -= size
        if not self._paused or self._bytes > TOTAL_BYTES // 2:
            return
        if before > TOTAL_BYTES // 2:
            for waiting in list(self._paused):
                self._resume(waiting)
        elif session is not None and session in self._paused:
            self._resume(session)

    def _dropped(self, _message: Message, _error: ChannelError) -> None:
        self._statistics.undeliverable_up += 1

    def _resume(self, session: Source) -> None:
        if not session.in_flight:
            del self._paused[session]
            session.resume_reading()

    def _sender_for(self, message: Message) -> ChannelSender[Origin]:
        is_for_devices = message.source == _TWIN or _answers_about_device(message)
        return self._groups[DEVICE_CONTROLLER if is_for_devices else EDGE_CONTROLLER]

    def _put(self, sender: ChannelSender[Origin], message: Message, session: Source | None) -> None:
        size = size_of(message)
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
        sender.put(message, (session, size))


def _is_served(message: Message) -> bool:
    """Whether a module of cloudcore takes such a message of an edge."""
    operation = message.operation
    if operation in _ANSWERS:
        return True
    return not (
        operation in _TASKS
        or (operation == _UPLOAD and message.group == _USER)
        or message.source == _METASERVER
        or message.source in _CLOUD
    )


def size_of(message: Message) -> int:
    """Return the bytes of memory that a message takes; for decoded JSON, within a factor of two."""
    texts = len(message.id) + len(message.parent_id) + len(message.resource)
    texts += len(message.source) + len(message.group) + len(message.operation)
    texts += len(message.resource_version) + len(message.type) + len(message.destination)
    return _OVERHEAD + texts + _size_of_content(message.content)


def _size_of_content(content: Any) -> int:
    """Return what a content takes.

    Decoded JSON takes up to 25 times its text (`{},{},...`). Each of its values follows one of
    four characters, which are counted faster than objects are measured.
    """
    if isinstance(content, bytes | str):
        return sys.getsizeof(content)  # of text, up to four bytes for each character
    text = msgspec.json.encode(content)
    return len(text) + _VALUE * sum(map(text.count, (b"{", b"[", b",", b":")))


def _answers_about_device(message: Message) -> bool:
    """Whether an edge has stored, deleted or refused a device or a model.

    Its source depends on what the edge was sent (processInsert in edge/pkg/metamanager/process.go),
    so the resource `node/NODE/NAMESPACE/TYPE/NAME` says it.
    """
    if message.operation not in _ANSWERS:
        return False
    parts = message.resource.split("/", 5)
    return len(parts) == 5 and parts[3] in _DEVICE_TYPES
